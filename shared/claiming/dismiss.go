package claiming

import (
	"context"
	"errors"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// dismissal returns the answer to a request that is rejected or only observed.
func (a *answering) dismissal(outcome keypackage.Outcome, reason string) keypackage.Dismissal {
	now := a.now()
	dismissal := keypackage.Dismissal{
		RequestID: a.doc.ID, Outcome: outcome, Reason: reason, CreatedAt: now,
		KeepUntil: keypackage.KeepAnswerUntil(now.Add(keypackage.MaxRequestTTL)),
	}
	if a.req != nil {
		dismissal.Requester, dismissal.Owners, dismissal.Requested = a.req.Requester, a.req.Owners, a.req.Min
		dismissal.Authentic = outcome == keypackage.OutcomeObserved || keypackage.Rejection(reason).Authentic()
	}
	return dismissal
}

// dismiss records the answer to a whole request, unless another answer stands. If one of its units was answered meanwhile,
// so are the others. A race may also be lost to somebody who wrote nothing in the end; then it is run again.
func (a *answering) dismiss(ctx context.Context, dismissal keypackage.Dismissal) (known keypackage.Answer, err error) {
	err = contend(ctx, func(int) (again bool, _ error) {
		lost := retryTransient(ctx, func() error { return a.store.Dismiss(ctx, dismissal, a.unitIDs()) })
		if lost == nil {
			known = keypackage.Answer{Dismissal: &dismissal}
			return false, nil
		}
		if errors.Is(lost, keypackage.ErrConflict) {
			if known, err = a.recorded(ctx); err != nil || !known.Empty() {
				return false, err
			}
		}
		return errors.Is(lost, keypackage.ErrConflict), fault.Retryable("dismiss_failed", lost)
	})
	if err != nil || known.Dismissal != nil {
		return known, err
	}
	return a.claim(ctx, known)
}

// observe records what would be claimed if the mode were deliver. Nothing is consumed. If a unit was answered in mode
// deliver, the rest is claimed as well.
func (a *answering) observe(ctx context.Context) (keypackage.Answer, error) {
	dismissal := a.dismissal(keypackage.OutcomeObserved, "")
	reads := newAllowance()
	for _, owner := range a.req.Owners {
		unit := Unit{Request: a.req, Owner: owner, reads: reads}
		plan, err := a.plan(ctx, newStockReader(a.store, owner, []Unit{unit}), false)
		if err != nil {
			return keypackage.Answer{}, err
		}
		dismissal.Observed = append(dismissal.Observed, plan.Answers[0].Row())
	}
	return a.dismiss(ctx, dismissal)
}
