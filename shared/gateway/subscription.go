package gateway

import (
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// subscription is one REQ that is open. The session's lock guards it.
type subscription struct {
	id          string
	conditions  []wire.Filter
	size        int    // of the conditions, in bytes
	upstream    bool   // open there, too
	waits       bool   // for the gateway's own answer
	end         []byte // the EOSE, or upstream's CLOSED, that is sent when nothing is waited for any more
	closes      bool   // end is a CLOSED
	loginAtEOSE bool   // instead of an EOSE, unless a 30443 has been sent
}

// takes reports whether the event, granted to these requests, satisfies one of its filters.
func (sub *subscription) takes(e Event, requests []string) bool {
	return slices.ContainsFunc(sub.conditions, func(f wire.Filter) bool { return f.Matches(e.Event, requests...) })
}

// subscribe deals with a REQ. A REQ with an id that is in use replaces the older one (NIP-01), also if it is refused.
func (s *session) subscribe(frame []byte) {
	id, filters, reason := readQuery(split(frame))
	if id == "" {
		s.refuse("", reason)
		return
	}
	var p plan
	if reason == "" {
		p = planREQ(filters, s.circumstances())
		reason = p.refusal
	}
	if reason == "" {
		reason = s.afford(id, &p)
	}
	if reason != "" {
		s.refuseREQ(id, nil, reason)
		return
	}
	s.open(id, frame, p)
}

func (s *session) circumstances() circumstances {
	c := circumstances{s.identities(), map[string][]string{}, s.Ports.Serving(), s.ReqClaims, s.link == nil}
	for _, key := range c.keys {
		if ids, ok := s.stock.get(key); ok {
			c.stock[key] = ids
		}
	}
	return c
}

// afford returns why the REQ is one too many, or "". A REQ that names none of our kinds passes also without its conditions.
func (s *session) afford(id string, p *plan) string {
	s.mu.Lock()
	open, size := 0, p.size
	for other, sub := range s.subscriptions {
		if other != id {
			open++
			size += sub.size
		}
	}
	s.mu.Unlock()
	if size > bounds.MaxConditions && !p.private {
		p.conditions, p.size, size = nil, 0, 0
	}
	switch {
	case open >= bounds.MaxSubscriptions:
		return "rate-limited: too many subscriptions are open"
	case size > bounds.MaxConditions:
		return "rate-limited: the filters of all subscriptions together are too large"
	case !s.allow(bounds.Requesting, p.owners):
		return "rate-limited: too many requests for KeyPackages"
	case !s.allow(bounds.Reading, p.reads()):
		return "rate-limited: too many requests for stored KeyPackages"
	}
	return ""
}

// open registers the subscription before anything can answer it, sends upstream its part and begins ours.
func (s *session) open(id string, frame []byte, p plan) {
	sub := &subscription{
		id: id, conditions: p.conditions, size: p.size, upstream: len(p.up) > 0, waits: true, loginAtEOSE: p.loginAtEOSE,
	}
	if !sub.upstream {
		sub.end = wire.Message("EOSE", id)
	}
	s.mu.Lock()
	replaced := s.removeLocked(id)
	s.subscriptions[id] = sub
	s.mu.Unlock()
	if refusal := s.openUpstream(id, replaced, frame, p); refusal != "" {
		if !p.private {
			s.refuseREQ(id, nil, refusal)
			return
		}
		s.refuse("", refusal)
		s.endsUpstream(id, wire.Message("EOSE", id), false)
	}
	switch {
	case !p.costs():
		s.settle(sub)
	case s.slots.TryAcquire(1):
		s.begin(func() { s.serve(sub, p) })
	case p.reads()+p.owners == 0:
		s.leaveOutOwn()
		s.settle(sub)
	default:
		s.refuseREQ(id, nil, "rate-limited: too many answers are under way")
		return
	}
	s.attend(s.identities(), p.conditions)
}

// openUpstream sends upstream its part of a REQ. What is replaced there, if nothing takes its place, is closed.
func (s *session) openUpstream(id string, replaced bool, frame []byte, p plan) (refusal string) {
	switch {
	case len(p.up) > 0 && p.changed:
		return s.link.send(wire.Req(id, p.up))
	case len(p.up) > 0:
		return s.link.send(frame)
	case replaced:
		_ = s.link.send(wire.Message("CLOSE", id))
	}
	return ""
}

// removeLocked forgets a subscription and reports whether it was open upstream. The caller holds the lock.
func (s *session) removeLocked(id string) (upstream bool) {
	sub := s.subscriptions[id]
	delete(s.subscriptions, id)
	return sub != nil && sub.upstream
}

// unsubscribe deals with a CLOSE.
func (s *session) unsubscribe(frame []byte) {
	e, err := split(frame)
	id, ok := e.Text(0)
	if err != nil || !ok {
		s.refuse("", "invalid: a CLOSE names a subscription")
		return
	}
	s.mu.Lock()
	_, known := s.subscriptions[id]
	upstream := s.removeLocked(id)
	s.mu.Unlock()
	if upstream || !known { // one that we do not know may be a COUNT's
		_ = s.link.send(frame)
	}
}

// refuseREQ says why a REQ is not, or no longer, answered, and ends its subscription, if that is still the client's; nil stands for
// what the REQ would have replaced.
func (s *session) refuseREQ(id string, sub *subscription, reason string) {
	s.mu.Lock()
	if sub != nil && s.subscriptions[id] != sub {
		s.mu.Unlock()
		return
	}
	upstream := s.removeLocked(id)
	s.mu.Unlock()
	if upstream {
		_ = s.link.send(wire.Message("CLOSE", id))
	}
	s.answer(wire.Message("CLOSED", id, reason))
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
	isOpen := sub != nil && sub.upstream
	if isOpen {
		sub.end, sub.closes, sub.upstream = frame, closes, !closes
	}
	s.mu.Unlock()
	switch {
	case isOpen:
		s.conclude(sub)
	case sub == nil && closes:
		s.answer(frame) // the answer to a COUNT
	}
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
	if sub.closes && !login {
		delete(s.subscriptions, sub.id)
	}
	s.mu.Unlock()
	if login {
		s.refuseREQ(sub.id, sub, authRequired)
	} else {
		s.answer(end)
	}
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

// subscribed returns the ids of the subscriptions that the event, granted to these requests, satisfies, in lexical order.
func (s *session) subscribed(e Event, requests ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, sub := range s.subscriptions {
		if sub.takes(e, requests) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
