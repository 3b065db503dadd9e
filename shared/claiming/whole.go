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

// wholeRecord is the record of a request that is rejected or only observed. req is nil if not even its signature is known.
func (c *Claimer) wholeRecord(
	doc keypackage.RequestDocument, req *keypackage.Request, status keypackage.Status, reason string,
) keypackage.Claim {
	now := c.now()
	record := keypackage.Claim{
		RequestID: doc.ID, Status: status, Reason: reason, CreatedAt: now,
		KeepUntil: keypackage.KeepClaimUntil(now.Add(keypackage.MaxRequestTTL)),
	}
	if req != nil {
		record.Requester, record.Owners, record.Requested = req.Requester, req.Owners, req.Min
		record.Authentic = status == keypackage.StatusObserved || keypackage.Rejection(reason).Authentic()
	}
	return record
}

// settle records the answer to a whole request, unless another answer stands. If one of its units was answered meanwhile,
// so are the others. A race may also be lost to somebody who wrote nothing in the end; then it is run again.
func (c *Claimer) settle(ctx context.Context, record keypackage.Claim, req *keypackage.Request) ([]keypackage.Claim, error) {
	var units []string
	if req != nil {
		units = unitIDs(req)
	}
	for attempt := 1; ; attempt++ {
		err := retryTransient(ctx, func() error { return c.store.Settle(ctx, record, units) })
		if err == nil {
			return []keypackage.Claim{record}, nil
		}
		if !errors.Is(err, keypackage.ErrConflict) || attempt == commitAttempts {
			return nil, fault.Retryable("settle_failed", err)
		}
		known, err := c.store.Records(ctx, append([]string{record.ID()}, units...))
		switch {
		case err != nil || slices.ContainsFunc(known, isWhole):
			return known, err
		case len(known) > 0:
			return c.claim(ctx, req)
		}
		if err := retry.Pause(ctx, backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

func isWhole(r keypackage.Claim) bool { return r.Owner == "" }

// observe records what would be claimed if the mode were deliver. Nothing is consumed.
func (c *Claimer) observe(ctx context.Context, doc keypackage.RequestDocument, req *keypackage.Request) ([]keypackage.Claim, error) {
	record := c.wholeRecord(doc, req, keypackage.StatusObserved, "")
	reads := newAllowance()
	for _, owner := range req.Owners {
		unit := Unit{Request: req, Owner: owner, reads: reads}
		plan, known, err := c.plan(ctx, newStockReader(c.store, owner, []Unit{unit}), false)
		if err != nil {
			return nil, err
		}
		if len(known) > 0 { // a unit was answered in mode deliver: the rest is claimed as well
			return c.claim(ctx, req)
		}
		record.Observed = append(record.Observed, plan.Records[0].Row())
	}
	return c.settle(ctx, record, req)
}

func unitIDs(req *keypackage.Request) []string {
	ids := make([]string, len(req.Owners))
	for i, owner := range req.Owners {
		ids[i] = keypackage.ClaimID(req.ID, owner)
	}
	return ids
}

// Attempts against a store or a publisher that fails for a moment. A nack costs seconds, a second try milliseconds.
const (
	transientAttempts = 3
	transientPause    = 100 * time.Millisecond
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
