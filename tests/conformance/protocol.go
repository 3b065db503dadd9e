package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// announcement is what the NIP-11 document says.
func (p *probe) announcement() actors.Announcement {
	said, err := actors.ReadAnnouncement(p.ctx, p.Relay)
	p.must("the NIP-11 document", err)
	return said
}

// outcomeOnce pushes an outcome twice. Whichever comes first, that of the functions or ours, which is the same, is told.
func outcomeOnce(p *probe) {
	request, s := p.request()
	s.publish(request)
	push := p.pushOf()
	push.RequestEventID = request.ID
	push.Outcome.Rows = []relayapi.OutcomeRow{{
		Owner: p.owner.Pubkey, Requested: 1, Reason: string(keypackage.StatusNone), KeyPackages: []relayapi.Granted{},
	}}
	for range 2 {
		p.push(p.ctx, push)
	}
	said := p.announcement()
	event, err := keypackage.VerifyEvent(s.all(1)[0])
	p.must("the notice", err)
	var content relayapi.Outcome
	p.must("the notice", json.Unmarshal([]byte(event.Content), &content))
	switch {
	case event.Kind != said.Outcome || !nostr.IsEphemeralKind(event.Kind):
		p.fail("the notice is of kind %d, which is not ephemeral or not what the NIP-11 document says", event.Kind)
	case event.PubKey != said.Pubkey:
		p.fail("the notice is not signed with the key of the NIP-11 document, so that no client believes it")
	case !reflect.DeepEqual(content, push.Outcome):
		p.fail("the notice says %+v instead of %+v", content, push.Outcome)
	case !event.Tags.ContainsAny("e", []string{request.ID}):
		p.fail("no e tag of the notice names the request")
	}
}

func outcomeOfForgery(p *probe) {
	request, s := p.request()
	forged := *request
	forged.Sig = randomID() + randomID()
	_ = s.submit("EVENT", &forged) // a relay refuses it, or stores it for others to judge
	s.got()
}

// announced checks the document, and that nobody else can speak in the relay's name.
func announced(p *probe) {
	said := p.announcement()
	request, deceived := p.request()
	s := p.visit(p.stranger)
	for _, kind := range []int{said.Outcome, said.Notice} {
		forged := signed(p.stranger, &nostr.Event{
			Kind: kind, CreatedAt: nostr.Now(), Content: `{"rows":[]}`, Tags: nostr.Tags{{"e", request.ID}, {"p", request.PubKey}},
		})
		if !nostr.IsEphemeralKind(kind) || s.submit("EVENT", forged) == nil {
			p.fail("the kind %d of the NIP-11 document is not ephemeral, or a stranger's event of it was accepted", kind)
		}
	}
	deceived.got()
}

// authRequired asks for what only who has authenticated gets, and then does what ordinary clients do at that word.
func authRequired(p *probe) {
	s := p.visit()
	filters := []nostr.Filter{keyPackagesOf(p.owner)}
	for _, kind := range []int{keypackage.KindKeyPackage, keypackage.KindOutcome, keypackage.KindLevel} {
		filters = append(filters, nostr.Filter{Kinds: []int{kind}})
	}
	for _, filter := range filters {
		if reason := s.ask("anonymous", filter); !strings.HasPrefix(reason, "auth-required:") {
			p.fail("a REQ for %v ended with %q, not with auth-required", filter, reason)
		}
	}
	s.refusesRequest(p.requester)
	s.authenticate(p.requester)
	if reason := s.ask("known", filters[0]); reason != "" {
		p.fail("a REQ after authenticating was closed: %q", reason)
	}
	s.refusesRequest(p.stranger)
}

// refusesRequest fails unless the key's 447 is answered by what makes clients authenticate.
func (s *session) refusesRequest(key actors.Key) {
	if err := s.submit("EVENT", s.question(key)); err == nil || !strings.Contains(err.Error(), "auth-required:") {
		s.fail("a 447 whose author has not authenticated: accepted, or %v", err)
	}
}

// severalKeys authenticates twice on one connection, asks for both keys' stock, and has both given something.
func severalKeys(p *probe) {
	keys := []actors.Key{p.requester, p.stranger}
	s := p.visit(keys...)
	p.trying = "one of two authenticated keys"
	for _, key := range keys {
		event := p.publish(key, p.keyPackage(key))
		s.serves(keyPackagesOf(key), event.ID, true)
	}
	deliveries := p.deliveries(len(keys))
	s.events, s.on = nil, nil
	s.subscribed(listening(p.owner))
	for i, key := range keys {
		p.requester = key
		p.expect(relayapi.Delivered, deliveries[i])
	}
	s.got(eventsOf(deliveries)...)
}

// pipelined sends subscriptions and a request without waiting for anything, as clients do. The owner has stock, so that whoever
// serves requests has something to deliver; the delivery that is certain to come is pushed here.
func pipelined(p *probe) {
	deliveries := p.deliveries(1)
	p.publish(p.owner, p.keyPackage(p.owner))
	s := p.visit(p.requester)
	p.trying = "with a subscription that was closed before the request"
	s.pipeline()
	p.expect(relayapi.NoSubscription, deliveries...)
	p.trying = "with another subscription, opened before the request"
	s.pipeline("second")
	p.expect(relayapi.Delivered, deliveries...)
	p.must("listen", s.collect(1, p.arrival()))
	if i := slices.IndexFunc(s.on, func(id string) bool { return id != "second" }); i >= 0 {
		p.fail("an event came on the subscription %q, which was not open", s.on[i])
	}
	if !slices.Contains(s.events, deliveries[0].Event) {
		p.fail("the delivery did not come")
	}
}

// pipeline opens and closes a subscription, opens others and asks, all in one breath.
func (s *session) pipeline(open ...string) {
	s.send("REQ", "first", listening(s.owner))
	s.send("CLOSE", "first")
	for _, id := range open {
		s.send("REQ", id, listening(s.owner))
	}
	s.publish(s.question(s.requester))
}

// answered sends messages of which nothing can be used but the id.
func answered(p *probe) {
	s := p.visit(p.requester)
	for _, fields := range []string{
		`"kind":443`,
		`"kind":"443"`,
		`"kind":443.5`,
		`"kind":443,"pubkey":"KEY","created_at":1.5,"tags":[],"content":"","sig":"IDID"`,
		`"kind":443,"pubkey":"KEY","created_at":"1","tags":[],"content":"","sig":"IDID"`,
		`"kind":447,"pubkey":"KEY","created_at":1,"tags":{},"content":"","sig":"IDID"`,
	} {
		id := randomID()
		event := strings.NewReplacer("ID", id, "KEY", p.requester.Pubkey).Replace(`{"id":"ID",` + fields + `}`)
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
	return s.until(fmt.Sprintf("%s: wait for %s", frame, label), s.arrival(), func(m message) bool { return m.is(id, label) })
}

// reqIsARequest has an ordinary client read an owner's KeyPackages.
func reqIsARequest(p *probe) {
	if !slices.Contains(p.announcement().Requests, "REQ") {
		p.skip("the NIP-11 document does not say that a REQ is a request")
	}
	event := p.publish(p.owner, p.keyPackage(p.owner))
	s := p.visit(p.requester).subscribed(keyPackagesOf(p.owner))
	if !s.saw(event.ID) {
		p.fail("the end of stored events came before the KeyPackage")
	}
	s.gotEvent(event)
}
