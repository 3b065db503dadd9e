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
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || errors.Is(err, keypackage.ErrConflict) || !fault.IsRetryable(err) || attempt == transientAttempts {
			return err
		}
		if retry.Pause(ctx, time.Duration(attempt)*transientPause) != nil {
			return err
		}
	}
}

// worthAnotherAttempt allows many lost races, which are over as soon as they are lost, but only a few other failures.
func worthAnotherAttempt(attempt int, err error) bool {
	return errors.Is(err, keypackage.ErrConflict) || attempt < transientAttempts
}

// backoff is random, so that losers of the same race do not meet again. Whoever lost may as well let the others finish: it
// grows with what the attempt took, which is long where many instances want the same owner.
func backoff(attempt int, took time.Duration) time.Duration {
	most := max(took, 10*time.Millisecond) << min(attempt-1, 2)
	return rand.N(min(most, longestBackoff))
}
