// Package retry tries again, after a pause. It is the one loop for everything that may pass by itself.
package retry

import (
	"context"
	"time"
)

// Pauses says how long to wait after the attempt with that number, from 1.
type Pauses func(attempt int) time.Duration

// Doubling returns pauses that double from first up to most.
func Doubling(first, most time.Duration) Pauses {
	return func(attempt int) time.Duration {
		pause := min(first, most)
		for i := 1; i < attempt && pause < most; i++ {
			pause = min(2*pause, most)
		}
		return pause
	}
}

// Do calls try, with the number of the attempt from 1, until it asks for no other or the context ends. It returns its last error.
func Do(ctx context.Context, pauses Pauses, try func(attempt int) (again bool, err error)) error {
	for attempt := 1; ; attempt++ {
		again, err := try(attempt)
		if !again || Pause(ctx, pauses(attempt)) != nil {
			return err
		}
	}
}

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
