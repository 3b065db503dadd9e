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
		_ = s.answer(wire.Notice(reason))
		return
	}
	var p plan
	if reason == "" {
		p = planREQ(filters, s.circumstances())
		reason = p.refusal
	}
	if reason == "" {
		reason = s.afford(id, p)
	}
	if reason != "" {
		s.refuseREQ(id, reason)
		return
	}
	s.open(id, frame, p)
}

// refuseREQ ends what it would have replaced, too.
func (s *session) refuseREQ(id, reason string) {
	s.mu.Lock()
	upstream := s.removeLocked(id)
	s.mu.Unlock()
	s.endREQ(id, upstream, reason)
}

func (s *session) circumstances() circumstances {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := circumstances{slices.Clone(s.keys), map[string][]string{}, s.Ports.Serving(), s.ReqClaims, s.link == nil}
	for _, key := range c.keys {
		if ids, ok := s.stock.get(key); ok {
			c.stock[key] = ids
		}
	}
	return c
}

// afford returns why the REQ is one too many, or "".
func (s *session) afford(id string, p plan) string {
	open, size := s.others(id)
	switch {
	case open >= bounds.MaxSubscriptions:
		return "rate-limited: too many subscriptions are open"
	case p.private && size+p.size > bounds.MaxConditions:
		return "rate-limited: the filters of all subscriptions together are too large"
	case !s.allow(bounds.Requesting, p.owners()):
		return "rate-limited: too many requests for KeyPackages"
	case !s.allow(bounds.Reading, p.reads()):
		return "rate-limited: too many requests for stored KeyPackages"
	}
	return ""
}

// others returns how many subscriptions are open besides that one, and how large what is kept of them is.
func (s *session) others(id string) (n, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, sub := range s.subscriptions {
		if other != id {
			n++
			size += sub.size
		}
	}
	return n, size
}

// open registers the subscription before anything can answer it, sends upstream its part and begins ours.
func (s *session) open(id string, frame []byte, p plan) {
	sub := &subscription{id: id, upstream: len(p.up) > 0, waits: true, loginAtEOSE: p.loginAtEOSE}
	if !sub.upstream {
		sub.end = wire.EOSE(id)
	}
	if _, size := s.others(id); size+p.size <= bounds.MaxConditions { // a REQ that names none of our kinds passes also without
		sub.conditions, sub.size = p.conditions, p.size
	}
	s.mu.Lock()
	replaced := s.removeLocked(id)
	s.subscriptions[id] = sub
	s.mu.Unlock()
	if err := s.openUpstream(id, replaced, frame, p); err != nil {
		if !p.private {
			s.refuseREQ(id, err.Error())
			return
		}
		_ = s.answer(wire.Notice(err.Error()))
		s.endsUpstream(id, wire.EOSE(id), false)
	}
	switch {
	case !p.costs():
		s.settle(sub)
	case s.reserve():
		s.begin(func() { s.serve(sub, p) })
	case p.reads()+p.owners() == 0:
		s.leaveOutOwn()
		s.settle(sub)
	default:
		s.refuseREQ(id, "rate-limited: too many answers are under way")
		return
	}
	s.attend(s.identities(), p.conditions)
}

// openUpstream sends upstream its part of a REQ. What is replaced there, if nothing takes its place, is closed.
func (s *session) openUpstream(id string, replaced bool, frame []byte, p plan) error {
	switch {
	case len(p.up) > 0 && p.changed:
		return s.link.send(wire.Req(id, p.up))
	case len(p.up) > 0:
		return s.link.send(frame)
	case replaced:
		_ = s.link.send(wire.Close(id))
	}
	return nil
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
		_ = s.answer(wire.Notice("invalid: a CLOSE names a subscription"))
		return
	}
	s.mu.Lock()
	_, known := s.subscriptions[id]
	upstream := s.removeLocked(id)
	s.mu.Unlock()
	if s.link != nil && (upstream || !known) {
		_ = s.link.send(frame) // one that we do not know may be a COUNT's
	}
}

// abort ends a subscription whose answer has failed, if it is still the client's.
func (s *session) abort(sub *subscription, reason string) {
	s.mu.Lock()
	isOpen := s.subscriptions[sub.id] == sub
	upstream := isOpen && s.removeLocked(sub.id)
	s.mu.Unlock()
	if isOpen {
		s.endREQ(sub.id, upstream, reason)
	}
}

// endREQ says why a REQ is not, or no longer, answered.
func (s *session) endREQ(id string, upstream bool, reason string) {
	if upstream {
		_ = s.link.send(wire.Close(id))
	}
	_ = s.answer(wire.Closed(id, reason))
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
		if sub == nil && closes {
			_ = s.answer(frame) // the answer to a COUNT
		}
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
	end, login, upstream := sub.end, sub.loginAtEOSE, sub.upstream
	sub.end = nil
	if sub.closes || login {
		delete(s.subscriptions, sub.id)
	}
	s.mu.Unlock()
	if login {
		s.endREQ(sub.id, upstream, authRequired)
	} else {
		_ = s.answer(end)
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
