//go:build linux || darwin

package emulators

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lock waits until no other process and no other caller holds the lock of that file. It ends with its process at the latest.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, file.Close())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, errors.Join(ctx.Err(), file.Close())
}
