package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// eoseWithin is how long an EOSE waits for what the gateway adds. Clients leave at EOSE, but the most impatient of them gives up
// after some three seconds without it.
const eoseWithin = 3 * time.Second

// serve is the gateway's own answer to a REQ.
func (s *session) serve(sub *subscription, p plan) {
	late := time.AfterFunc(eoseWithin, func() { s.settle(sub) })
	defer late.Stop()
	defer s.settle(sub)
	keys := s.identities()
	if len(p.own) > 0 {
		for _, key := range keys {
			s.serveStored(sub, p.own, func(ctx context.Context) ([]Event, error) { return s.Ports.Own(ctx, key) })
		}
	}
	if len(p.granted) > 0 {
		for _, key := range keys {
			s.serveGranted(sub, key, p.granted)
		}
	}
	if owners := authors(p.stored); len(owners) > 0 {
		s.serveStored(sub, p.stored, func(ctx context.Context) ([]Event, error) { return s.Ports.Addressable(ctx, owners) })
	}
	if p.levels {
		for _, key := range keys {
			s.tellLevel(sub, key)
		}
	}
	for _, claim := range p.claims {
		s.claim(claim)
	}
}

func authors(filters []wire.Filter) []string {
	var all []string
	for _, f := range filters {
		named, _ := f.Authors()
		all = append(all, named...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *session) claim(c Claim) {
	ctx, cancel := s.port()
	defer cancel()
	if err := s.Ports.Claim(ctx, c); err != nil {
		s.Log.Error("claim failed", "requester", c.Requester, "owners", len(c.Owners), "error", err)
	}
}

// serveStored sends what the filters ask for of what is stored, each event once.
func (s *session) serveStored(sub *subscription, filters []wire.Filter, stored func(context.Context) ([]Event, error)) {
	ctx, cancel := s.port()
	events, err := stored(ctx)
	cancel()
	if err != nil {
		_ = s.answer(wire.Notice(s.failed("reading stored KeyPackages", err)))
		return
	}
	left := make([]int, len(filters))
	for i, f := range filters {
		left[i] = f.Limit(maxStored)
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

// serveGranted sends what was granted to requests that the client names.
func (s *session) serveGranted(sub *subscription, requester string, requests []string) {
	ctx, cancel := s.port()
	events, err := s.Ports.Granted(ctx, requester, requests)
	cancel()
	if err != nil {
		_ = s.answer(wire.Notice(s.failed("reading what a request was granted", err)))
		return
	}
	for _, e := range events {
		if slices.ContainsFunc(sub.conditions, func(f wire.Filter) bool { return f.Matches(e.Event, requests...) }) {
			s.send(sub, e)
		}
	}
}

// tellLevel tells an owner the state of her stock.
func (s *session) tellLevel(sub *subscription, owner string) {
	ctx, cancel := s.port()
	defer cancel()
	level, err := s.Ports.Level(ctx, owner)
	if err != nil {
		_ = s.failed("reading the level of a stock", err)
	} else if level != nil && slices.ContainsFunc(sub.conditions, func(f wire.Filter) bool { return f.Matches(level.Event) }) {
		s.send(sub, *level)
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
		_ = s.answer(wire.Event(sub.id, e.Raw))
	}
}
