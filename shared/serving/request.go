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
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

const (
	attemptTimeout = 10 * time.Second // of one attempt to serve a 447
	maxFollowed    = 200              // requests that are gone on with at once: when the store is away, all of them fail
	ownersAtOnce   = 8                // of one REQ, from whom is claimed at the same time, as for a 447
	maxGranted     = 320              // read for one REQ by ids: a request for 32 owners is granted some hundred packages at most
	// followFor is how long the instance that holds the session goes on with a request that has failed. The scheduled function
	// takes it up as well, but where that pushes nobody may be listening.
	followFor = 5 * time.Minute
	// pushAttempts is how often a push is tried that could not be made: a lease that was too short after a slow commit, a store
	// that does not answer. Afterwards the requester has to ask again, or a 447 is followed.
	pushAttempts = 3
)

var (
	pushPauses   = retry.Doubling(50*time.Millisecond, time.Second)
	followPauses = retry.Doubling(time.Second, 15*time.Second) // a store that is away is not helped by more attempts
)

// taking is a 447 that is claimed while its document is being stored: what the claim needs is read meanwhile, and written once
// the document is there.
type taking struct {
	doc      keypackage.RequestDocument
	known    chan struct{} // closed when it is known what became of the document
	err      error         // why it is not stored
	repeated bool          // it was there before
}

// stored returns once it is known what became of the document, as soon as the store's call ends.
func (t *taking) stored() error {
	<-t.known
	return t.err
}

// Take implements gateway.Requests.
func (s *Service) Take(ctx context.Context, e gateway.Event) (gateway.Answer, func(context.Context), error) {
	received := s.now()
	if !s.here() || !s.Serving() {
		answer, err := s.Publisher.Request(ctx, e, received, false)
		return answer, nil, err
	}
	t := &taking{known: make(chan struct{}), err: errors.New("the request is not stored"), doc: keypackage.RequestDocument{
		ID: e.ID, Event: e.Raw, Kind: keypackage.KindRequest, HasKind: true, ReceivedAt: received, Marked: true,
	}}
	defer close(t.known)
	served := make(chan struct{})
	s.begin(func() {
		defer close(served)
		if err := s.serve(ctx, t); err != nil && t.stored() == nil {
			s.follow(t)
		}
	})
	var answer gateway.Answer
	answer, t.err = s.Publisher.Request(ctx, e, received, true)
	if t.repeated = answer.Reason != ""; t.repeated {
		s.outcomes.forget(func(known *outcome) bool { return known.request == e.ID })
	}
	if t.err != nil {
		return answer, nil, t.err
	}
	return answer, func(context.Context) { <-served }, nil // which bounds itself, and records what it did even if that takes longer
}

// follow goes on with a request in the background, until it has its outcome or is too old. Beyond the bound it is left to the
// scheduled function.
func (s *Service) follow(t *taking) {
	select {
	case s.follows <- struct{}{}:
	default:
		return
	}
	t.repeated = false
	s.begin(func() {
		defer func() { <-s.follows }()
		for attempt := 1; s.now().Sub(t.doc.ReceivedAt) < followFor && retry.Pause(s.done, followPauses(attempt)) == nil; attempt++ {
			if s.serve(s.done, t) == nil {
				return
			}
		}
	})
}

// serve claims what a 447 asks for, pushes it to the requester's sessions and tells the outcome, whether its caller has gone or not.
// Served again, because it was published again or because something has failed, a request is given the same. Only the former brings
// it to sessions that have it.
func (s *Service) serve(ctx context.Context, t *taking) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	line := logging.Begin(s.Log)
	var mu sync.Mutex // of what the units come to
	var pushed delivering.Result
	var failed error
	answer, result, err := s.Claimer.ClaimHere(ctx, t.doc, t.stored, func(g claiming.Granted) {
		given, err := s.give(ctx, g, t.stored() == nil && t.repeated)
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, pushed.Add(given, err))
	})
	isOneUnit := len(answer.Claims) == 1 // which has told the outcome
	if err = errors.Join(err, failed); err == nil && !answer.Empty() && !isOneUnit {
		err = pushed.Add(s.push.Begun(ctx, "", answer, nil)) // the outcome alone
	}
	if err == nil && result.Outcome != "" {
		err = s.Claimer.Told(ctx, t.doc, answer)
	}
	if t.stored() == nil { // otherwise that is what has failed, and is told
		report(ctx, line, result, pushed, err)
	}
	s.crossed(answer)
	return err
}

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

// give pushes what a unit was granted to the requester's sessions: first what its claim has begun to push; what of it could not be
// sent in time is pushed as anything else that is pending. What was delivered before is sent to those that do not have it, and with
// again to all: it is the same requester who sees it, and it has asked.
func (s *Service) give(ctx context.Context, granted claiming.Granted, again bool) (result delivering.Result, err error) {
	if granted.Answer.Empty() {
		return result, nil
	}
	err = retry.Do(ctx, pushPauses, func(attempt int) (_ bool, err error) {
		if attempt == 1 {
			err = result.Add(s.push.Begun(ctx, granted.Holder, granted.Answer, granted.Begun))
		} else {
			err = result.Add(s.push.ForRequest(ctx, keypackage.NewAnnouncement(granted.Answer)))
		}
		return fault.IsRetryable(err) && attempt < pushAttempts, err
	})
	if err == nil {
		err = result.Add(s.giveOthers(ctx, granted, again))
	}
	return result, err
}

// giveOthers pushes what was granted and not created by this claim, because it was joined, or the answer is repeated: it may be on its
// way by another session or instance, which is waited for, or have been delivered.
func (s *Service) giveOthers(ctx context.Context, granted claiming.Granted, again bool) (result delivering.Result, err error) {
	others := slices.DeleteFunc(granted.Answer.Deliveries(), func(ref keypackage.DeliveryRef) bool {
		return slices.ContainsFunc(granted.Begun, func(d keypackage.StoredDelivery) bool { return d.ID == ref.ID })
	})
	if len(others) == 0 {
		return result, nil
	}
	found, err := s.Store.Deliveries(ctx, others)
	if err != nil {
		return result, err
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
	result, err = repeater.Repeat(ctx, delivered)
	if err == nil && len(open) > 0 {
		err = result.Add(s.push.ForRequest(ctx, keypackage.NewAnnouncement(granted.Answer)))
	}
	if err == nil {
		err = result.Add(s.push.Repeat(ctx, open)) // what was pushed from here is not sent twice
	}
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

// Attend implements gateway.Requests.
func (s *Service) Attend(ctx context.Context, requester string) error {
	s.outcomes.tell(requester)
	if !s.here() {
		return s.Nudge(ctx, requester)
	}
	_, err := s.push.ForRequester(ctx, requester)
	return err
}

// Granted implements gateway.Requests, with what may be sent to the requester again.
func (s *Service) Granted(ctx context.Context, requester string, requests []string) ([]gateway.Event, error) {
	var refs []keypackage.DeliveryRef
	for _, id := range requests {
		if !keypackage.IsEventID(id) {
			continue
		}
		answer, err := s.Store.Answer(ctx, id)
		if err != nil {
			return nil, err
		}
		if answer.Requester() == requester && answer.Authentic() {
			refs = append(refs, answer.Deliveries()...)
		}
	}
	found, err := s.Store.Deliveries(ctx, refs[:min(len(refs), maxGranted)])
	if err != nil {
		return nil, err
	}
	var events []gateway.Event
	for i := range found {
		event, refused := verified(&found[i].Delivery)
		if refused == "" && !found[i].Tombstoned && found[i].Repeatable(s.now()) {
			events = append(events, event)
		}
	}
	slices.SortFunc(events, publishing.NewestFirst)
	return events, nil
}
