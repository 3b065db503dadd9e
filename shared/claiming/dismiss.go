package claiming

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// dismissal is the record of a request that is rejected or only observed.
func (t *taking) dismissal(status keypackage.Status, reason string) keypackage.Claim {
	now := t.now()
	dismissal := keypackage.Claim{
		RequestID: t.doc.ID, Status: status, Reason: reason, CreatedAt: now,
		KeepUntil: keypackage.KeepClaimUntil(now.Add(keypackage.MaxRequestTTL)),
	}
	if t.req != nil {
		dismissal.Requester, dismissal.Owners, dismissal.Requested = t.req.Requester, t.req.Owners, t.req.Min
		dismissal.Authentic = status == keypackage.StatusObserved || keypackage.Rejection(reason).Authentic()
	}
	return dismissal
}

// dismiss records the answer to a whole request, unless another answer stands. If one of its units was answered meanwhile,
// so are the others. A race may also be lost to somebody who wrote nothing in the end; then it is run again.
func (t *taking) dismiss(ctx context.Context, dismissal keypackage.Claim) ([]keypackage.Claim, error) {
	for attempt := 1; ; attempt++ {
		begun := time.Now()
		err := retryTransient(ctx, func() error { return t.store.Dismiss(ctx, dismissal, t.unitIDs()) })
		if err == nil {
			return []keypackage.Claim{dismissal}, nil
		}
		if !errors.Is(err, keypackage.ErrConflict) || attempt == commitAttempts {
			return nil, fault.Retryable("dismiss_failed", err)
		}
		switch known, err := t.recorded(ctx); {
		case err != nil || slices.ContainsFunc(known, isDismissal):
			return known, err
		case len(known) > 0:
			return t.claim(ctx, known)
		}
		if err := retry.Pause(ctx, backoff(attempt, time.Since(begun))); err != nil {
			return nil, err
		}
	}
}

func isDismissal(c keypackage.Claim) bool { return c.Owner == "" }

// observe records what would be claimed if the mode were deliver. Nothing is consumed. If a unit was answered in mode
// deliver, the rest is claimed as well.
func (t *taking) observe(ctx context.Context) ([]keypackage.Claim, error) {
	dismissal := t.dismissal(keypackage.StatusObserved, "")
	reads := newAllowance()
	for _, owner := range t.req.Owners {
		unit := Unit{Request: t.req, Owner: owner, reads: reads}
		plan, err := t.plan(ctx, newStockReader(t.store, owner, []Unit{unit}), false)
		if err != nil {
			return nil, err
		}
		dismissal.Observed = append(dismissal.Observed, plan.Answers[0].Row())
	}
	return t.dismiss(ctx, dismissal)
}
