package expiring

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	expireBatch   = 25               // deliveries: what one transaction writes
	nudgeBatch    = 200              // deliveries: what one call publishes
	recoverAfter  = 30 * time.Second // a trigger needs its moment
	recoverAtOnce = 4                // a request may wait for locks, and its neighbours need not
)

// expireDeliveries ends the deliveries that are due, in every mode: their packages belong back in stock. One that cannot be ended
// does not keep the others from it. What has changed meanwhile is looked at again, as long as that leads somewhere. One query
// brings all that is due, so that the time grows with what has expired and the memory does not. Tombstones are read only for
// what could not be returned without a look at them.
func (e *Expirer) expireDeliveries(ctx context.Context, report *Report) error {
	inTime := func(ctx context.Context) bool { return ctx.Err() == nil }
	for tombstones := false; ; tombstones = true {
		met, ended := 0, 0
		due := e.store.Due(ctx, e.now().Add(-keypackage.Fence), tombstones)
		err := each(ctx, due, expireBatch, report, inTime, func(batch []keypackage.StoredDelivery) error {
			expired, err := e.expireBatch(ctx, batch)
			report.count(expired)
			met, ended = met+len(batch), ended+len(expired)
			return err
		})
		if (ended == met && err == nil) || (ended == 0 && tombstones) || ctx.Err() != nil {
			return err
		}
	}
}

// expireBatch expires deliveries in one transaction, or, if that fails, in halves: only what is at fault itself stays.
func (e *Expirer) expireBatch(ctx context.Context, found []keypackage.StoredDelivery) ([]*keypackage.Delivery, error) {
	expired := make([]*keypackage.Delivery, len(found))
	for i := range found {
		d := found[i].Delivery
		d.Expire(found[i].Tombstoned, e.now())
		expired[i] = &d
	}
	err := e.store.Expire(ctx, expired)
	switch {
	case err == nil:
		return expired, nil
	case len(found) > 1 && ctx.Err() == nil:
		half := len(found) / 2
		first, err := e.expireBatch(ctx, found[:half])
		second, otherErr := e.expireBatch(ctx, found[half:])
		return append(first, second...), errors.Join(err, otherErr)
	case errors.Is(err, keypackage.ErrConflict):
		return nil, nil // changed meanwhile: delivered, expired by another run, or read again by the next query
	}
	return nil, err
}

// repeatNudges asks again for the delivery of what has been pending for a while: its message may have been lost, or the
// requester's next session may have opened unnoticed. Each requester is named once in a run.
func (e *Expirer) repeatNudges(ctx context.Context, report *Report) error {
	seen := make(map[string]bool)
	return each(ctx, e.store.Waiting(ctx, e.now()), nudgeBatch, report, e.delivers, func(batch []keypackage.Delivery) error {
		var requesters []string
		for i := range batch { // those whose turn it is, and who could be pushed to now
			d, now := &batch[i], e.now()
			if !seen[d.Requester] && d.Pushable(now) && !now.Before(d.NudgeAt()) {
				seen[d.Requester] = true
				requesters = append(requesters, d.Requester)
			}
		}
		if len(requesters) == 0 {
			return nil
		}
		err := e.deliveries.PublishRequesters(ctx, requesters)
		if err == nil {
			report.Nudged += len(requesters)
		}
		return err
	})
}

// recoverRequests takes up the requests that still have their mark: their trigger was lost, or whoever took them up did not come to
// the end. A request that fails keeps its mark, and nobody waits for it.
func (e *Expirer) recoverRequests(ctx context.Context, report *Report) error {
	return e.eachMarked(ctx, report, func(doc keypackage.RequestDocument) (*int, error) {
		if _, isRequest := doc.Unverified(); !isRequest {
			return e.dismiss(ctx, report, doc, nil), nil
		}
		err := e.claimer.Recover(ctx, doc)
		switch {
		case err == nil:
			return &report.Recovered, nil
		case !errors.Is(err, keypackage.ErrUnreadable):
			return &report.Failed, nil
		case e.now().Sub(doc.ReceivedAt) > e.settings.RequestMaxAge:
			return e.dismiss(ctx, report, doc, nil), err
		}
		return nil, err
	})
}

// dismissRequests removes marks in mode off: what was received then is left alone for good, unless it was begun before.
func (e *Expirer) dismissRequests(ctx context.Context, report *Report) error {
	return e.eachMarked(ctx, report, func(doc keypackage.RequestDocument) (*int, error) {
		units, isRequest := doc.Unverified()
		if isRequest {
			units = append(units, keypackage.DismissalID(doc.ID))
		}
		return e.dismiss(ctx, report, doc, units), nil
	})
}

// dismiss removes a mark unless one of the claims exists. It returns where that counts.
func (e *Expirer) dismiss(ctx context.Context, report *Report, doc keypackage.RequestDocument, claimIDs []string) *int {
	switch err := e.store.Unmark(ctx, doc, claimIDs); {
	case err == nil:
		return &report.Dismissed
	case errors.Is(err, keypackage.ErrConflict):
		return nil // it has changed meanwhile, or was begun
	}
	return &report.Failed
}

// eachMarked calls do for several of the documents with a mark at once. It returns where that counts, if anywhere, and why the
// document is skipped.
func (e *Expirer) eachMarked(ctx context.Context, report *Report, do func(keypackage.RequestDocument) (*int, error)) (failure error) {
	var group errgroup.Group
	group.SetLimit(recoverAtOnce)
	var counting sync.Mutex
	for doc, err := range e.store.Marked(ctx, e.now().Add(-recoverAfter)) {
		if err != nil || ctx.Err() != nil {
			failure = err
			break
		}
		group.Go(func() error {
			counter, unreadable := do(doc)
			counting.Lock()
			defer counting.Unlock()
			if counter != nil {
				*counter++
			}
			if unreadable != nil {
				report.skip(unreadable)
			}
			return nil
		})
	}
	_ = group.Wait()
	return failure
}
