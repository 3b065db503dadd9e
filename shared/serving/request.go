package serving

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// Take implements gateway.Requests.
func (s *Service) Take(ctx context.Context, e gateway.Event) (gateway.Answer, func(context.Context), error) {
	received := s.now()
	if !s.here() || !s.Serving() {
		answer, err := s.Publisher.Request(ctx, e, received, false)
		return answer, nil, err
	}
	t := newTaking()
	s.begin(func() {
		defer close(t.served)
		s.serveTaken(context.WithoutCancel(ctx), t, keypackage.RequestDocument{
			ID: e.ID, Event: e.Raw, Kind: keypackage.KindRequest, HasKind: true, ReceivedAt: received, Marked: true,
		})
	})
	answer, err := s.Publisher.Request(ctx, e, received, true)
	if t.repeated = answer.Reason != ""; t.repeated {
		s.outcomes.forget(func(known *outcome) bool { return known.request == e.ID })
	}
	if t.settle(err); err != nil {
		return answer, nil, err
	}
	return answer, t.awaitServed, nil
}

// taking is a 447 that is claimed while its document is being stored: what the claim needs is read meanwhile, and written once the
// document is there.
type taking struct {
	settled  chan struct{} // closed when it is known what became of the document
	err      error         // why it is not stored
	repeated bool          // it was there before
	served   chan struct{} // closed in the end
}

func newTaking() *taking {
	return &taking{settled: make(chan struct{}), served: make(chan struct{})}
}

// settle says what became of the document.
func (t *taking) settle(err error) {
	t.err = err
	close(t.settled)
}

// stored implements claiming.Stored.
func (t *taking) stored(ctx context.Context) error {
	select {
	case <-t.settled:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *taking) isStored() bool {
	select {
	case <-t.settled:
		return t.err == nil
	default:
		return false
	}
}

// awaitServed returns when the request is served, or ctx ends.
func (t *taking) awaitServed(ctx context.Context) {
	select {
	case <-t.served:
	case <-ctx.Done():
	}
}

func (s *Service) serveTaken(ctx context.Context, t *taking, doc keypackage.RequestDocument) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if err := s.serve(ctx, doc, t); err != nil && t.isStored() {
		s.follow(doc)
	}
}

// serve claims what a 447 asks for, pushes it to the requester's sessions and tells the outcome. Served again, because it was
// published again or because something has failed, a request is given the same. Only the former brings it to sessions that have it.
func (s *Service) serve(ctx context.Context, doc keypackage.RequestDocument, t *taking) error {
	line := logging.Begin(s.Log)
	var mu sync.Mutex // of what the units come to
	var pushed delivering.Result
	var failed error
	answer, result, err := s.Claimer.ClaimHere(ctx, doc, t.stored, func(g claiming.Granted) {
		given, err := s.give(ctx, g, t.repeated)
		mu.Lock()
		defer mu.Unlock()
		pushed.Add(given)
		failed = errors.Join(failed, err)
	})
	isOneUnit := len(answer.Claims) == 1 // which has told the outcome
	if err = errors.Join(err, failed); err == nil && !answer.Empty() && !isOneUnit {
		var told delivering.Result
		told, err = s.push.Begun(ctx, "", answer, nil) // the outcome alone
		pushed.Add(told)
	}
	if err == nil && result.Outcome != "" {
		err = s.Claimer.Told(ctx, doc, answer)
	}
	if t.isStored() { // otherwise that is what has failed, and is told
		report(ctx, line, result, pushed, err)
	}
	s.crossed(answer)
	return err
}

// ownersAtOnce bounds how many owners of one REQ are claimed from at the same time, as it does for a 447.
const ownersAtOnce = 8

// Claim implements gateway.Requests.
func (s *Service) Claim(ctx context.Context, c gateway.Claim) error {
	var group errgroup.Group
	group.SetLimit(ownersAtOnce)
	for _, owner := range c.Owners {
		group.Go(func() error {
			line := logging.Begin(s.Log)
			granted, result, err := s.Claimer.ClaimForREQ(ctx, c.Requester, owner, c.Addressable)
			var pushed delivering.Result
			if err == nil {
				pushed, err = s.give(ctx, granted, true)
			}
			report(ctx, line, result, pushed, err)
			s.crossed(granted.Answer)
			return err
		})
	}
	return group.Wait()
}

// give pushes what a unit was granted to the requester's sessions. What was delivered before is sent to those that do not have
// it, and with again to all: it is the same requester who sees it, and it has asked.
func (s *Service) give(ctx context.Context, granted claiming.Granted, again bool) (delivering.Result, error) {
	if granted.Answer.Empty() {
		return delivering.Result{}, nil
	}
	result, err := s.pushBegun(ctx, granted)
	rest := slices.DeleteFunc(granted.Answer.Deliveries(), func(ref keypackage.DeliveryRef) bool { // joined, or of an answer that is repeated
		return slices.ContainsFunc(granted.Begun, func(d keypackage.StoredDelivery) bool { return d.ID == ref.ID })
	})
	if err != nil || len(rest) == 0 {
		return result, err
	}
	pushed, err := s.giveOthers(ctx, granted.Answer, rest, again)
	result.Add(pushed)
	return result, err
}

// pushAttempts is how often a push is tried that could not be made: a lease that was too short after a slow commit, a store
// that does not answer. Afterwards the requester has to ask again, or a 447 is followed.
const pushAttempts = 3

var pushPauses = retry.Doubling(50*time.Millisecond, time.Second)

// pushBegun makes the pushes that a claim has begun. What could not be sent in time is pushed as anything else that is pending.
func (s *Service) pushBegun(ctx context.Context, granted claiming.Granted) (result delivering.Result, err error) {
	err = retry.Do(ctx, pushPauses, func(attempt int) (bool, error) {
		var pushed delivering.Result
		var err error
		if attempt == 1 {
			pushed, err = s.push.Begun(ctx, granted.Holder, granted.Answer, granted.Begun)
		} else {
			pushed, err = s.push.ForRequest(ctx, keypackage.NewAnnouncement(granted.Answer))
		}
		result.Add(pushed)
		return fault.IsRetryable(err) && attempt < pushAttempts, err
	})
	return result, err
}

// giveOthers pushes what was granted and not created by this claim: it may be on its way by another session or instance, which
// is waited for, or have been delivered.
func (s *Service) giveOthers(
	ctx context.Context, answer keypackage.Answer, rest []keypackage.DeliveryRef, again bool,
) (delivering.Result, error) {
	found, err := s.Store.Deliveries(ctx, rest)
	if err != nil {
		return delivering.Result{}, err
	}
	var open, delivered []keypackage.DeliveryRef
	for i := range found {
		if found[i].Open() {
			open = append(open, found[i].Ref())
		} else {
			delivered = append(delivered, found[i].Ref())
		}
	}
	repeater := s.push
	if again {
		repeater = s.again
	}
	result, err := repeater.Repeat(ctx, delivered)
	if err != nil || len(open) == 0 {
		return result, err
	}
	pending, err := s.push.ForRequest(ctx, keypackage.NewAnnouncement(answer))
	result.Add(pending)
	if err != nil {
		return result, err
	}
	elsewhere, err := s.push.Repeat(ctx, open) // what was pushed from here is not sent twice
	result.Add(elsewhere)
	return result, err
}

// report writes the log line of a request.
func report(ctx context.Context, line *logging.Line, result claiming.Result, pushed delivering.Result, err error) {
	line.Set(logging.About, logging.AboutRequest)
	result.Describe(line)
	pushed.Describe(line)
	if errors.Is(err, keypackage.ErrUnreadable) {
		line.Alert("unreadable_document") // it stays so, and behind a REQ is no document by which the tick would find out
	}
	line.End(ctx, result.Label(), err)
}
