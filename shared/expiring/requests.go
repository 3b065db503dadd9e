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
	recoverAfter  = 30 * time.Second // a trigger needs its moment
	recoverAtOnce = 4                // a request may wait for locks, and its neighbours need not
)

// recoverRequests takes up the requests that still have their mark: their trigger was lost, or whoever took them up did not
// come to the end. A request that fails keeps its mark, and nobody waits for it.
func (e *Expirer) recoverRequests(ctx context.Context, report *Report) error {
	return e.eachMarked(ctx, func(doc keypackage.RequestDocument) func() {
		if _, isRequest := doc.Unverified(); !isRequest {
			return e.dismiss(ctx, report, doc, nil)
		}
		err := e.claimer.Recover(ctx, doc)
		switch unreadable := errors.Is(err, keypackage.ErrUnreadable); {
		case err == nil:
			return func() { report.Recovered++ }
		case unreadable && e.now().Sub(doc.ReceivedAt) > e.settings.RequestMaxAge:
			dismissed := e.dismiss(ctx, report, doc, nil)
			return func() { report.skip(err); dismissed() }
		case unreadable:
			return func() { report.skip(err) }
		}
		return func() { report.Failed++ }
	})
}

// dismissRequests removes marks in mode off: what was received then is left alone for good, unless it was begun before.
func (e *Expirer) dismissRequests(ctx context.Context, report *Report) error {
	return e.eachMarked(ctx, func(doc keypackage.RequestDocument) func() {
		units, isRequest := doc.Unverified()
		if isRequest {
			units = append(units, keypackage.DismissalID(doc.ID))
		}
		return e.dismiss(ctx, report, doc, units)
	})
}

// dismiss removes a mark unless one of the claims exists. It returns what there is to count.
func (e *Expirer) dismiss(ctx context.Context, report *Report, doc keypackage.RequestDocument, claimIDs []string) func() {
	switch err := e.store.Unmark(ctx, doc, claimIDs); {
	case err == nil:
		return func() { report.Dismissed++ }
	case errors.Is(err, keypackage.ErrConflict):
		return func() {} // it has changed meanwhile, or was begun
	}
	return func() { report.Failed++ }
}

// eachMarked calls do for several of the documents with a mark at once, and what do returns for one at a time.
func (e *Expirer) eachMarked(ctx context.Context, do func(keypackage.RequestDocument) (count func())) error {
	var group errgroup.Group
	group.SetLimit(recoverAtOnce)
	var counting sync.Mutex
	var failure error
	for doc, err := range e.store.Marked(ctx, e.now().Add(-recoverAfter)) {
		if err != nil || ctx.Err() != nil {
			failure = err
			break
		}
		group.Go(func() error {
			count := do(doc)
			counting.Lock()
			defer counting.Unlock()
			count()
			return nil
		})
	}
	_ = group.Wait()
	return failure
}
