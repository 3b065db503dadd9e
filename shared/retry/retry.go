// Package retry waits between two attempts.
package retry

import (
	"context"
	"time"
)

// Pause waits for d, or until the context ends; then it returns the context's error. A d of zero or less is no pause.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
