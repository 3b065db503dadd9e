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

// subscription is one REQ that is open. The session's lock guards it.
type subscription struct {
	id          string
	conditions  []wire.Filter
	upstream    bool   // open there, too
	waits       bool   // for the gateway's own answer
	end         []byte // the EOSE, or upstream's CLOSED, that is sent when nothing is waited for any more
	closes      bool   // end is a CLOSED
	loginAtEOSE bool   // instead of an EOSE, unless a 30443 has been sent
}

// subscribe deals with a REQ. A REQ with an id that is in use replaces the older one (NIP-01), also if it is refused.
func (s *session) subscribe(frame []byte) {
	id, filters, reason := query(frame)
	if id == "" {
		_ = s.answer(wire.Notice(reason))
		return
	}
	var p plan
	if reason == "" {
		c := circumstances{s.identities(), s.Ports.Serving(), s.ReqClaims, s.link == nil}
		p = planREQ(filters, c)
		reason = p.refusal
	}
	if reason == "" {
		reason = s.afford(id, p)
	}
	if reason != "" {
		s.drop(id)
		_ = s.answer(wire.Closed(id, reason))
		return
	}
	s.open(id, frame, p)
}

// afford returns why the REQ is one too many, or "".
func (s *session) afford(id string, p plan) string {
	s.mu.Lock()
	_, replaces := s.subscriptions[id]
	full := !replaces && len(s.subscriptions) >= maxSubscriptions
	s.mu.Unlock()
	owners := 0
	for _, claim := range p.claims {
		owners += len(claim.Owners)
	}
	switch {
	case full:
		return "rate-limited: too many subscriptions are open"
	case owners > 0 && !s.allow(requesting, owners):
		return "rate-limited: too many requests for KeyPackages"
	case p.costs() && owners == 0 && !s.allow(reading, 1):
		return "rate-limited: too many requests for stored KeyPackages"
	}
	return ""
}

// open registers the subscription before anything can answer it, sends upstream its part and begins ours.
func (s *session) open(id string, frame []byte, p plan) {
	sub := &subscription{id: id, conditions: p.conditions, upstream: len(p.up) > 0, waits: true, loginAtEOSE: p.loginAtEOSE}
	if !sub.upstream {
		sub.end = wire.EOSE(id)
	}
	s.mu.Lock()
	older := s.subscriptions[id]
	s.subscriptions[id] = sub
	s.mu.Unlock()
	if err := s.openUpstream(sub, older, frame, p); err != nil {
		if !p.private {
			s.drop(id)
			_ = s.answer(wire.Closed(id, err.Error()))
			return
		}
		_ = s.answer(wire.Notice(err.Error()))
		s.endsUpstream(id, wire.EOSE(id), false)
	}
	if !p.costs() {
		s.settle(sub)
	} else if !s.begin(func() { s.serve(sub, p) }) {
		s.drop(id)
		_ = s.answer(wire.Closed(id, "rate-limited: too many answers are under way"))
		return
	}
	s.attend(s.identities(), p.conditions)
}

func (s *session) openUpstream(sub, older *subscription, frame []byte, p plan) error {
	switch {
	case sub.upstream && p.changed:
		return s.link.send(wire.Req(sub.id, p.up))
	case sub.upstream:
		return s.link.send(frame)
	case older != nil && older.upstream:
		_ = s.link.send(wire.Close(sub.id)) // the one that this replaces
	}
	return nil
}

// unsubscribe deals with a CLOSE.
func (s *session) unsubscribe(frame []byte) {
	e, err := split(frame)
	id, ok := e.Text(0)
	if err != nil || !ok {
		_ = s.answer(wire.Notice("invalid: a CLOSE names a subscription"))
		return
	}
	s.mu.Lock()
	sub := s.subscriptions[id]
	delete(s.subscriptions, id)
	s.mu.Unlock()
	if s.link != nil && (sub == nil || sub.upstream) {
		_ = s.link.send(frame) // one that we do not know may be a COUNT's
	}
}

// drop ends a subscription that the client did not close.
func (s *session) drop(id string) {
	s.mu.Lock()
	sub := s.subscriptions[id]
	delete(s.subscriptions, id)
	s.mu.Unlock()
	if sub != nil && sub.upstream {
		_ = s.link.send(wire.Close(id))
	}
}

// expects reports whether upstream was asked for events on that subscription. It notes that a public KeyPackage has come.
func (s *session) expects(id string, kind int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscriptions[id]
	if sub == nil || !sub.upstream {
		return false
	}
	if kind == keypackage.KindAddressableKeyPackage {
		sub.loginAtEOSE = false
	}
	return true
}

// endsUpstream notes that upstream has sent what it has, or will send no more, and passes that on when it is due.
func (s *session) endsUpstream(id string, frame []byte, closes bool) {
	s.mu.Lock()
	sub := s.subscriptions[id]
	if sub == nil || !sub.upstream {
		s.mu.Unlock()
		return
	}
	sub.end, sub.closes = frame, closes
	sub.upstream = !closes
	s.mu.Unlock()
	s.conclude(sub)
}

// settle notes that the gateway's own part of an answer has been sent, or is not waited for any longer.
func (s *session) settle(sub *subscription) {
	s.mu.Lock()
	sub.waits = false
	s.mu.Unlock()
	s.conclude(sub)
}

// conclude sends the end of an answer once nothing is waited for.
func (s *session) conclude(sub *subscription) {
	s.mu.Lock()
	if sub.waits || sub.end == nil || s.subscriptions[sub.id] != sub {
		s.mu.Unlock()
		return
	}
	end, login := sub.end, sub.loginAtEOSE
	sub.end = nil
	if sub.closes || login {
		delete(s.subscriptions, sub.id)
	}
	s.mu.Unlock()
	if !login {
		_ = s.answer(end)
		return
	}
	if sub.upstream {
		_ = s.link.send(wire.Close(sub.id))
	}
	_ = s.answer(wire.Closed(sub.id, authRequired))
}

// conditions returns what all open subscriptions could be sent.
func (s *session) conditions() []wire.Filter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []wire.Filter
	for _, sub := range s.subscriptions {
		all = append(all, sub.conditions...)
	}
	return all
}

// subscribed returns the ids of the subscriptions that the event satisfies, in lexical order.
func (s *session) subscribed(e Event) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, sub := range s.subscriptions {
		if slices.ContainsFunc(sub.conditions, func(f wire.Filter) bool { return f.Matches(e.Event) }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

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
