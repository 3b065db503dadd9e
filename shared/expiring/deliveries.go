package expiring

import (
	"context"
	"errors"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Sizes of a batch: what one transaction writes, and how many requesters one call publishes.
const (
	expireBatch = 25
	nudgeBatch  = 200
)

// expireDeliveries ends the deliveries that are due, in every mode: their packages belong back in stock. One that cannot be
// ended does not keep the others from it. What has changed meanwhile is looked at again, as long as that leads somewhere.
func (e *Expirer) expireDeliveries(ctx context.Context, report *Report) error {
	for tombstones := false; ; tombstones = true {
		met, ended, err := e.expireDue(ctx, tombstones, report)
		if ended == met || (ended == 0 && tombstones) || ctx.Err() != nil {
			return err
		}
	}
}

// expireDue goes once through what is due. One query brings all of it, so that the time grows with what has expired and
// the memory does not. Tombstones are read only for what could not be returned without a look at them.
func (e *Expirer) expireDue(ctx context.Context, tombstones bool, report *Report) (met, ended int, err error) {
	var failures []error
	for batch, err := range batches(e.store.Due(ctx, e.now().Add(-keypackage.Fence), tombstones), expireBatch, report) {
		if err != nil {
			return met, 0, errors.Join(append(failures, err)...)
		}
		expired, err := e.expireBatch(ctx, batch)
		report.count(expired)
		met, ended = met+len(batch), ended+len(expired)
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return met, ended, errors.Join(failures...)
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
	for batch, err := range batches(e.store.Waiting(ctx, e.now()), nudgeBatch, report) {
		if err != nil {
			return err
		}
		if !e.delivers(ctx) {
			return nil
		}
		requesters := e.toNudge(batch, seen)
		if len(requesters) == 0 {
			continue
		}
		if err := e.deliveries.PublishRequesters(ctx, requesters); err != nil {
			return err
		}
		report.Nudged += len(requesters)
	}
	return nil
}

// toNudge returns the requesters, not seen before, of deliveries whose turn it is and that could be pushed now.
func (e *Expirer) toNudge(waiting []keypackage.Delivery, seen map[string]bool) []string {
	var requesters []string
	for i := range waiting {
		d, now := &waiting[i], e.now()
		if !seen[d.Requester] && d.Pushable(now) && !now.Before(d.NudgeAt()) {
			seen[d.Requester] = true
			requesters = append(requesters, d.Requester)
		}
	}
	return requesters
}

// delivers reports whether the mode still is deliver: a run is long, and the switch is asked for before each batch.
func (e *Expirer) delivers(ctx context.Context) bool {
	mode, err := e.settings.Mode.Now(ctx)
	return err == nil && mode == keypackage.ModeDeliver
}
