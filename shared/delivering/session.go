package delivering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

const (
	maxConflicts  = 10 // lost races for a lease before the message goes back
	beginAttempts = 3  // to begin pushes, while the store fails
)

// Why a message is worth repeating although nothing has failed.
var (
	errLeased   = retryLater("leased", errors.New("another push is under way"))
	errLate     = retryLater("late", errors.New("the lease was too short for a push"))
	errTimeOver = retryLater("time_over", errors.New("the time for one message is over"))
)

// session pushes the deliveries of one request, for one message.
type session struct {
	*work
	push      Push            // what all pushes have in common: the outcome is worth telling until ExpiresAt
	tried     map[string]bool // deliveries that this message has pushed
	holder    string          // of the push that is to begin; it may have begun without our knowledge
	conflicts int
	failures  int
	failure   error // of the first push that failed as a whole: there is no other after it
	late      bool  // a delivery was not sent because its lease would not have lasted
}

// push pushes deliveries under the request with this answer: those that were found, on which the holder may hold leases
// already, and those that are still to be read.
func (w *work) push(
	ctx context.Context, holder string, answer keypackage.Answer, found []keypackage.StoredDelivery, rest []keypackage.DeliveryRef,
) error {
	if answer.Empty() {
		return nil // older than the answers that are kept, or not ours
	}
	push := Push{RequestID: answer.RequestID(), Requester: answer.Requester(), ExpiresAt: answer.CreatedAt().Add(OutcomeAge)}
	// An outcome is told once, so none while an owner's claim is missing, and only to whoever has signed the request.
	if answer.Complete() && answer.Authentic() && w.now().Before(push.ExpiresAt) && !w.told[push.RequestID] {
		push.Outcome = answer.Rows()
	}
	s := &session{work: w, holder: holder, tried: make(map[string]bool), push: push}
	return s.run(ctx, found, rest)
}

// run pushes what is pushable until every delivery has been tried or is not to be pushed. It never acknowledges while
// somebody else's push is under way, because that one may be lost: it waits for its end.
func (s *session) run(ctx context.Context, found []keypackage.StoredDelivery, rest []keypackage.DeliveryRef) error {
	var left []keypackage.DeliveryRef
	for i := range found {
		left = append(left, found[i].Ref())
	}
	for {
		ready, leased := s.sort(found)
		var err error
		switch {
		case len(ready) > 0:
			err = s.pushAll(ctx, ready)
		case leased != nil:
			err = s.await(ctx, leased)
		case len(rest) > 0:
			n := min(page, len(rest))
			left, rest = rest[:n], rest[n:]
		default:
			return s.finish(ctx)
		}
		if err != nil {
			return err
		}
		// What was pushed here is recorded and needs no second look: in the usual case that is all, and no call is made.
		left = slices.DeleteFunc(left, func(ref keypackage.DeliveryRef) bool { return s.tried[ref.ID] })
		if found, err = s.store.Deliveries(ctx, left); err != nil {
			return err
		}
	}
}

// sort returns what this message has still to push, and the delivery whose lease, held by others, ends first. What a
// commit of ours has begun without our knowledge comes first: it was one batch, and becomes one again.
func (s *session) sort(found []keypackage.StoredDelivery) (ready []*keypackage.Delivery, leased *keypackage.Delivery) {
	now := s.now()
	var held []*keypackage.Delivery
	for i := range found {
		switch d := &found[i]; {
		case d.Tombstoned || s.tried[d.ID]:
		case d.HeldBy(s.holder, now):
			held = append(held, &d.Delivery)
		case d.Pushable(now):
			ready = append(ready, &d.Delivery)
		case d.Leased(now) && (leased == nil || d.LeaseUntil.Before(leased.LeaseUntil)):
			leased = &d.Delivery
		}
	}
	return append(held, ready...), leased
}

// pushAll pushes in batches, until one could not be begun: then everything is read and sorted again. What a push came to is
// recorded even if the caller has gone.
func (s *session) pushAll(ctx context.Context, ready []*keypackage.Delivery) error {
	for _, batch := range batches(ready) {
		if !s.now().Before(s.until) {
			return errTimeOver
		}
		if err := s.begin(ctx, batch); err != nil {
			return s.notBegun(ctx, err)
		}
		results := s.send(ctx, batch)
		for _, d := range batch {
			s.count(d, results[d.ID])
		}
		if err := s.record(context.WithoutCancel(ctx), batch, results); err != nil {
			return retryLater("not_recorded", err)
		}
		if s.failure != nil {
			return s.failure
		}
	}
	return nil
}

// notBegun returns nil if everything is worth reading again: a race was lost, or the store fails and may have begun the push.
func (s *session) notBegun(ctx context.Context, err error) error {
	if errors.Is(err, keypackage.ErrConflict) {
		if s.conflicts++; s.conflicts <= maxConflicts {
			return nil
		}
	} else if s.failures++; s.failures < beginAttempts && retry.Pause(ctx, storePauses(s.failures)) == nil {
		return nil
	}
	return retryLater("not_begun", err)
}

// leasePauses: most pushes end long before their lease does, and those that do not need not be watched closely.
var leasePauses = retry.Doubling(50*time.Millisecond, 2*time.Second)

// await waits for the end of somebody else's push.
func (s *session) await(ctx context.Context, leased *keypackage.Delivery) error {
	for attempt := 1; s.now().Before(s.until); attempt++ {
		left := max(leased.LeaseUntil.Sub(s.now()), time.Millisecond)
		if retry.Pause(ctx, min(left, leasePauses(attempt))) != nil {
			break
		}
		found, err := s.store.Deliveries(ctx, []keypackage.DeliveryRef{leased.Ref()})
		if err != nil || len(found) == 0 || !found[0].Leased(s.now()) {
			return err
		}
		leased = &found[0].Delivery
	}
	return errLeased
}

// finish tells the outcome if no push has carried it.
func (s *session) finish(ctx context.Context) error {
	if len(s.push.Outcome) > 0 {
		if !s.now().Before(s.until) {
			return errTimeOver
		}
		if results := s.call(ctx, s.push); results.Whole != "" {
			s.alert(results.Whole)
			return failed(results)
		}
	}
	if s.late {
		return errLate
	}
	return nil
}

// retryLater is the error that asks for the message once more.
func retryLater(reason string, err error) error {
	return fault.Retryable(reason, fmt.Errorf("push is not finished: %w", err))
}

// failed is the error of a push that failed as a whole.
func failed(results Results) error {
	if results.Whole.Retry() {
		return retryLater(string(results.Whole), results.Err)
	}
	return fault.Permanent(string(results.Whole), fmt.Errorf("push is given up: %w", results.Err))
}
