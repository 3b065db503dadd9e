//go:build linux || darwin

package emulators

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
)

func TestConcurrentCallersDownloadOnce(t *testing.T) {
	t.Parallel()
	m := newMirror(t, serving("a.jar", content))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := m.get(t.Context(), released("a.jar", content)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m.want(released("a.jar", content), content, 1)
}

func TestLockGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
