package gateway

import (
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	// loginWithin is how far the time of an AUTH may be off (NIP-42: about ten minutes).
	loginWithin = 10 * time.Minute
	// loginRemembered is how long upstream may take to answer an AUTH, before the client gets two OKs.
	loginRemembered = time.Minute
)

// login deals with an AUTH. Every key that authenticates counts, besides those before.
func (s *session) login(frame []byte) {
	e, err := split(frame)
	object := e.Object(0)
	id := wire.ID(object)
	if err != nil || object == nil {
		s.refuse(id, "invalid: this AUTH is not one event in I-JSON")
		return
	}
	if !s.allow(bounds.LoggingIn, 1) {
		s.answer(wire.OK(id, false, "rate-limited: too many AUTHs"))
		return
	}
	event, refused := s.checkLogin(object)
	if refused != "" {
		s.tally.loginsRefused.Add(1)
		s.answer(wire.OK(id, false, refused))
		return
	}
	s.tally.logins.Add(1)
	if s.passOn { // after the gateway has accepted it: before, upstream could have used it on a connection of its own
		s.logins.put(id, struct{}{}, time.Now().Add(loginRemembered))
		_ = s.link.send(frame) // an upstream that is gone has nothing that a login would open
	}
	s.answer(wire.OK(id, true, ""))
	s.attend([]string{event.PubKey}, s.conditions())
}

// checkLogin adds the key, or says why not.
func (s *session) checkLogin(object jsontext.Value) (event *nostr.Event, refused string) {
	event, err := keypackage.VerifyEvent(string(object))
	if err != nil {
		return nil, "invalid: " + err.Error()
	}
	switch age := time.Since(event.CreatedAt.Time()); {
	case event.Kind != nostr.KindClientAuthentication:
		refused = "invalid: an AUTH has kind 22242"
	case age > loginWithin || age < -loginWithin:
		refused = "invalid: its time is off by more than ten minutes"
	case tagged(event, "challenge") != s.challenge:
		refused = "invalid: it does not name this connection's challenge"
	case !s.isNamedBy(tagged(event, "relay")):
		refused = "invalid: it does not name this relay"
	case !s.admit(event.PubKey):
		refused = "restricted: no more keys on this connection"
	}
	return event, refused
}

// isNamedBy reports whether a URL is one of this relay.
func (s *session) isNamedBy(relay string) bool {
	u, err := url.Parse(relay)
	return err == nil && (u.Scheme == "ws" || u.Scheme == "wss") && s.isOurs(u.Host)
}

func tagged(event *nostr.Event, tag string) string {
	if found := event.Tags.Find(tag); found != nil {
		return found[1]
	}
	return ""
}

// admit adds a key, if there is room. The registry must know of it before anything is asked on its behalf.
func (s *session) admit(pubkey string) bool {
	s.mu.Lock()
	known, full := slices.Contains(s.keys, pubkey), len(s.keys) >= bounds.MaxKeys
	if !known && !full {
		s.keys = append(s.keys, pubkey)
	}
	s.mu.Unlock()
	if !known && !full {
		s.sessions.add(pubkey, s)
	}
	return known || !full
}

// identities returns the public keys that have authenticated.
func (s *session) identities() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys)
}

func (s *session) is(pubkey string) bool { return slices.Contains(s.identities(), pubkey) }
