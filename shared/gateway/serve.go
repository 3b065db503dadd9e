package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// eoseWithin is how long an EOSE waits for what the gateway adds. Clients leave at EOSE, but the most impatient of them gives up
// after some three seconds without it.
const eoseWithin = 3 * time.Second

// serve is the gateway's own answer to a REQ. What cannot be read is said, but a claim that fails is not: the next REQ asks again.
func (s *session) serve(sub *subscription, p plan) {
	late := time.AfterFunc(eoseWithin, func() { s.settle(sub) })
	defer late.Stop()
	if err := s.serveReads(sub, p); err != nil {
		s.refuseREQ(sub.id, sub, s.failed("reading what is stored", err))
		return
	}
	for _, c := range p.claims {
		s.claim(c)
	}
	s.settle(sub) // not after a panic: it would look as if there were nothing
}

// serveReads sends what is stored, for all keys, whose number the REQ was charged for.
func (s *session) serveReads(sub *subscription, p plan) error {
	ctx, cancel := s.port()
	defer cancel()
	for _, key := range p.keys {
		if err := s.serveOwn(ctx, sub, p, key); err != nil {
			return err
		}
	}
	var owners []string
	for _, f := range p.stored {
		owners = append(owners, f.Authors...)
	}
	if len(owners) == 0 {
		return nil
	}
	slices.Sort(owners)
	events, err := s.Ports.Addressable(ctx, slices.Compact(owners))
	s.sendStored(sub, p.stored, events)
	return err
}

// serveOwn sends what the holder of one key asks about itself.
func (s *session) serveOwn(ctx context.Context, sub *subscription, p plan, key string) error {
	switch {
	case len(p.own) == 0:
	case p.incidental && !s.allow(bounds.Reading, 1):
		s.leaveOutOwn()
	default:
		before := s.published.Load()
		events, err := s.Ports.Own(ctx, key)
		if err != nil {
			return err
		}
		s.noteStock(key, events, before)
		s.sendStored(sub, p.own, events)
	}
	if len(p.granted) > 0 {
		events, err := s.Ports.Granted(ctx, key, p.granted)
		if err != nil {
			return err
		}
		s.sendMatching(sub, events, p.granted...)
	}
	if p.levels {
		level, err := s.Ports.Level(ctx, key)
		if err != nil {
			return err
		}
		if level != nil {
			s.sendMatching(sub, []Event{*level})
		}
	}
	return nil
}

// leaveOutOwn is said instead of refusing a REQ that is not about KeyPackages.
func (s *session) leaveOutOwn() {
	s.refuse("", "rate-limited: your own KeyPackages are left out of an answer, name their kind")
}

// stockRemembered is how long it is remembered what a key has in stock. Clients look for other events by id all the time, which
// is to cost nothing. What the owner has published elsewhere meanwhile is found by its kind at once, and by its id then.
const stockRemembered = time.Minute

// noteStock remembers what was read, unless something was published here since: so many times it had been before.
func (s *session) noteStock(key string, events []Event, before int64) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.published.Load() == before {
		s.stock.put(key, ids, time.Now().Add(stockRemembered))
	}
}

func (s *session) forgetStock(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published.Add(1)
	s.stock.put(key, nil, time.Time{})
}

func (s *session) claim(c Claim) {
	ctx, cancel := s.port()
	defer cancel()
	if err := s.Ports.Claim(ctx, c); err != nil {
		s.Log.Error("claim failed", "requester", c.Requester, "owners", len(c.Owners), "error", err)
	}
}

// sendStored sends what the filters ask for of what is stored, each event once, within their limits.
func (s *session) sendStored(sub *subscription, filters []wire.Filter, events []Event) {
	left := make([]int, len(filters))
	for i, f := range filters {
		left[i] = f.Most(bounds.MaxStored)
	}
	for _, e := range events {
		for i, f := range filters {
			if left[i] > 0 && f.Matches(e.Event) {
				left[i]--
				s.send(sub, e)
				break
			}
		}
	}
}

// sendMatching sends the events that the subscription takes, granted to these requests.
func (s *session) sendMatching(sub *subscription, events []Event, requests ...string) {
	for _, e := range events {
		if sub.takes(e, requests) {
			s.send(sub, e)
		}
	}
}

// send writes an event on a subscription, if that is still open when the event's turn has come.
func (s *session) send(sub *subscription, e Event) {
	s.mu.Lock()
	isOpen := s.subscriptions[sub.id] == sub
	if isOpen && e.Kind == keypackage.KindAddressableKeyPackage {
		sub.loginAtEOSE = false
	}
	s.mu.Unlock()
	if isOpen {
		s.answer(wire.Event(sub.id, e.Raw))
	}
}
