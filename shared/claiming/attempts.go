package claiming

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// Attempts against a store or a publisher that fails for a moment. A nack costs seconds, a second try milliseconds.
const (
	transientAttempts = 3
	transientPause    = 100 * time.Millisecond
	longestBackoff    = 500 * time.Millisecond
	commitAttempts    = 16 // lost races before the event is handed back to the platform
)

// retryTransient repeats do while it fails for a reason that may pass. A lost race does not pass by itself.
func retryTransient(ctx context.Context, do func() error) error {
	pauses := func(attempt int) time.Duration { return time.Duration(attempt) * transientPause }
	return retry.Do(ctx, pauses, func(attempt int) (bool, error) {
		err := do()
		passes := err != nil && fault.IsRetryable(err) && !errors.Is(err, keypackage.ErrConflict)
		return passes && attempt < transientAttempts, err
	})
}

// contend repeats try while it asks for another attempt, at most commitAttempts times. The pauses are random, so that losers of the
// same race do not meet again, and in proportion to what the attempt took, which is long where many instances want the same
// owner. The first are the longest: then most of the others are still there, and whoever has lost often should not wait on.
func contend(ctx context.Context, try func(attempt int) (again bool, err error)) error {
	var begun time.Time
	pauses := func(attempt int) time.Duration {
		most := max(time.Since(begun), 10*time.Millisecond) * time.Duration(max(4-attempt, 1))
		return rand.N(min(most, longestBackoff))
	}
	return retry.Do(ctx, pauses, func(attempt int) (bool, error) {
		begun = time.Now()
		again, err := try(attempt)
		return again && attempt < commitAttempts, err
	})
}

// worthAnotherAttempt allows many lost races, which are over as soon as they are lost, but only a few other failures, and none
// for a document that cannot be read.
func worthAnotherAttempt(attempt int, err error) bool {
	return errors.Is(err, keypackage.ErrConflict) ||
		err != nil && attempt < transientAttempts && !errors.Is(err, keypackage.ErrUnreadable)
}
