package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// authRequired asks for what only who has authenticated gets, and then does what ordinary clients do at that word.
func authRequired(p *probe) {
	s := p.visit()
	filters := []nostr.Filter{keyPackagesOf(actors.NewKey())}
	for _, kind := range []int{keypackage.KindKeyPackage, keypackage.KindOutcome, keypackage.KindLevel} {
		filters = append(filters, nostr.Filter{Kinds: []int{kind}})
	}
	for _, filter := range filters {
		if reason := s.ask("anonymous", filter); !strings.HasPrefix(reason, "auth-required:") {
			p.fail("a REQ for %v ended with %q, not with auth-required", filter, reason)
		}
	}
	key := actors.NewKey()
	s.refusesRequest(key)
	s.authenticate(key)
	if reason := s.ask("known", filters[0]); reason != "" {
		p.fail("a REQ after authenticating was closed: %q", reason)
	}
	s.refusesRequest(actors.NewKey())
}

// refusesRequest fails unless the key's 447 is answered by what makes clients authenticate.
func (s *session) refusesRequest(key actors.Key) {
	request := signed(key, actors.NewRequest(actors.Question{Owners: []string{actors.NewKey().Pubkey}}))
	if err := s.submit("EVENT", request); err == nil || !strings.Contains(err.Error(), "auth-required:") {
		s.fail("a 447 whose author has not authenticated: accepted, or %v", err)
	}
}

// severalKeys authenticates twice on one connection, asks for both owners' stock, and has both given something.
func severalKeys(p *probe) {
	keys := []actors.Key{actors.NewKey(), actors.NewKey()}
	s := p.join(keys[0])
	s.authenticate(keys[1])
	p.trying = "one of two authenticated keys"
	for _, key := range keys {
		event := p.publishKeyPackage(key)
		s.serves(keyPackagesOf(key), event.ID, true)
	}
	owner := actors.NewKey()
	deliveries := p.deliveries(owner, len(keys))
	s.events, s.on = nil, nil
	s.ask("keypackages", listening(owner))
	for i, key := range keys {
		p.expect(relayapi.Delivered, key.Pubkey, deliveries[i])
	}
	s.got("a session of two keys", eventsOf(deliveries)...)
}

// pipelined sends subscriptions and a request without waiting for anything, as clients do. The owner has stock, so that whoever
// serves requests has something to deliver; the delivery that is certain to come is pushed here.
func pipelined(p *probe) {
	owner, requester := actors.NewKey(), actors.NewKey()
	deliveries := p.deliveries(owner, 1)
	p.publishKeyPackage(owner)
	s := p.join(requester)
	p.trying = "with a subscription that was closed before the request"
	s.pipeline(requester, owner)
	p.expect(relayapi.NoSubscription, requester.Pubkey, deliveries...)
	p.trying = "with another subscription, opened before the request"
	s.pipeline(requester, owner, "second")
	p.expect(relayapi.Delivered, requester.Pubkey, deliveries...)
	p.must("listen", s.collect(1, p.arrival()))
	if i := slices.IndexFunc(s.on, func(id string) bool { return id != "second" }); i >= 0 {
		p.fail("an event came on the subscription %q, which was not open", s.on[i])
	}
	if !slices.Contains(s.events, deliveries[0].Event) {
		p.fail("the delivery did not come")
	}
}

// pipeline opens and closes a subscription, opens others and asks, all in one breath.
func (s *session) pipeline(requester, owner actors.Key, open ...string) {
	s.send("REQ", "first", listening(owner))
	s.send("CLOSE", "first")
	for _, id := range open {
		s.send("REQ", id, listening(owner))
	}
	s.publish(signed(requester, actors.NewRequest(actors.Question{Owners: []string{owner.Pubkey}, TTL: life})))
}

// answered sends messages of which nothing can be used but the id.
func answered(p *probe) {
	key := actors.NewKey()
	s := p.join(key)
	for _, fields := range []string{
		`"kind":443`,
		`"kind":"443"`,
		`"kind":443.5`,
		`"kind":443,"pubkey":"KEY","created_at":1.5,"tags":[],"content":"","sig":"IDID"`,
		`"kind":443,"pubkey":"KEY","created_at":"1","tags":[],"content":"","sig":"IDID"`,
		`"kind":447,"pubkey":"KEY","created_at":1,"tags":{},"content":"","sig":"IDID"`,
	} {
		id := randomID()
		event := strings.NewReplacer("ID", id, "KEY", key.Pubkey).Replace(`{"id":"ID",` + fields + `}`)
		if ok := s.isAnswered(`["EVENT",`+event+`]`, "OK", id); len(ok) < 3 || string(ok[2]) != "false" {
			p.fail("%s was accepted", event)
		}
	}
	for _, frame := range []string{
		`["REQ","id"]`, `["REQ","id",7]`, `["REQ","id",{"kinds":["443"]}]`, `["REQ","id",{"kinds":[443.5]}]`,
		`["REQ","id",{"kinds":[443],"authors":"bob"}]`, `["COUNT","id",{"kinds":["443"]}]`,
	} {
		s.isAnswered(frame, "CLOSED", "id")
	}
}

// isAnswered sends a frame and returns the message with that label and id.
func (s *session) isAnswered(frame, label, id string) message {
	s.must("send a message", s.conn.Write(s.ctx, websocket.MessageText, []byte(frame)))
	what := fmt.Sprintf("%s: wait for %s", frame, label)
	return s.until(what, s.arrival(), func(m message) bool { return m.label() == label && m.text(1) == id })
}

// reqIsARequest has an ordinary client read an owner's KeyPackages.
func reqIsARequest(p *probe) {
	if !slices.Contains(p.announcement().Requests, "REQ") {
		p.skip("the NIP-11 document does not say that a REQ is a request")
	}
	owner, requester := actors.NewKey(), actors.NewKey()
	event := p.publishKeyPackage(owner)
	s := p.listener(&requester, keyPackagesOf(owner))
	if !s.saw(event.ID) {
		p.fail("the end of stored events came before the KeyPackage")
	}
	s.gotEvent("the requester", event)
}
