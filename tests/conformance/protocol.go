package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// keyPackageRules are about who sees a KeyPackage without a delivery.
var keyPackageRules = []rule{
	// Every way is tried that could bring it.
	{"stored-443", "a stored 443 is served to sessions authenticated as its author, and to nobody else, nor counted or synchronised",
		func(p *probe) {
			event := p.publishKeyPackage(p.owner)
			ways := []nostr.Filter{
				{Kinds: keyPackageKind, Authors: []string{p.owner.Pubkey}, Since: new(nostr.Timestamp)}, // without since, a request
				{Kinds: keyPackageKind, Limit: 500}, {Authors: []string{p.owner.Pubkey}}, {IDs: []string{event.ID}},
			}
			p.visit(p.owner).reads(event.ID, true, append(slices.Clip(ways), keyPackagesOf(p.owner))...)
			p.visit(p.stranger).reads(event.ID, false, ways...)
			p.visit().reads(event.ID, false, ways...)
		}},
	{"new-443", "a new 443 is broadcast to sessions authenticated as its author, and to nobody else", func(p *probe) {
		open := p.audience(p.owner, p.stranger)
		event := p.publishKeyPackage(p.owner)
		open[0].gotEvent(event)
		for _, s := range open[1:] {
			s.got()
		}
	}},
}

// storageRules are about what else a relay keeps, and for whom.
var storageRules = []rule{
	{"stored-447", "a 447 is served to nobody", func(p *probe) {
		request, s := p.request()
		s.publish(request)
		ways := []nostr.Filter{{Kinds: []int{keypackage.KindRequest}, Authors: []string{request.PubKey}}, {IDs: []string{request.ID}}}
		s.reads(request.ID, false, ways...) // nor to its author
		p.visit(p.stranger).reads(request.ID, false, ways...)
	}},
	{"stored-30443", "a 30443 is served to everybody", func(p *probe) {
		encoded := must(mlsgen.New(mlsgen.Options{Owner: p.owner.Pubkey, NotAfter: time.Now().Add(packageLife)}))
		event := p.publish(p.owner, must(actors.MDK.Publish(p.owner, encoded, p.Relay, nostr.Now())))
		filter := nostr.Filter{Kinds: []int{keypackage.KindAddressableKeyPackage}, Authors: []string{p.owner.Pubkey}}
		for _, s := range []*session{p.visit(p.owner), p.visit(p.stranger), p.visit()} {
			s.reads(event.ID, true, filter)
		}
	}},
	// Whether a push of it is refused is not checked: whoever pushes has read its tombstone.
	{"deleted", "a KeyPackage that its owner has deleted (kind 5), however soon, is gone and does not come back", func(p *probe) {
		for _, atOnce := range []bool{false, true} {
			p.trying = fmt.Sprintf("a KeyPackage that is deleted at once: %v", atOnce)
			event, s := p.keyPackage(p.owner), p.visit(p.owner)
			if atOnce {
				s.send("EVENT", event)
			} else {
				s.publish(event)
			}
			s.publish(signed(p.owner, &nostr.Event{Kind: nostr.KindDeletion, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"e", event.ID}}}))
			s.serves(keyPackagesOf(p.owner), event.ID, false)
			_ = s.submit("EVENT", event) // a relay may refuse it, or say that it knows it
			s.serves(keyPackagesOf(p.owner), event.ID, false)
		}
	}},
	{"documents", "KeyPackages and their deletions become documents: created_at is an integer, a tombstone is named after id and author",
		func(p *probe) {
			event := p.publishKeyPackage(p.owner)
			created := p.document(p.Collections.KeyPackages, event.ID)[keypackage.FieldCreatedAt]
			if created != int64(event.CreatedAt) {
				p.fail("created_at of a KeyPackage's document is no integer: %T", created)
			}
			p.must("delete a KeyPackage", p.withdraw())
			p.document(p.Collections.Tombstones, keypackage.TombstoneID(event.ID, p.owner.Pubkey))
		}},
	// Once the request is answered, the mark has gone and keep_until has come.
	{"open", "a request's document has the mark by which it is found if its trigger is lost", func(p *probe) {
		request, s := p.request()
		s.publish(request)
		fields := p.document(p.Collections.Requests, request.ID)
		if _, over := fields[keypackage.FieldKeepUntil]; !over && !keypackage.ReadRequestDocument(request.ID, fields, time.Time{}).Marked {
			p.fail("open is %v: a request whose trigger is lost would never be found", fields[keypackage.FieldOpen])
		}
	}},
	{"nudge", "a nudge is published when a requester opens a matching subscription", func(p *probe) {
		p.skip("it goes to the delivery topic: see its message count, or the demo's second act")
	}},
}

// protocolRules are about notices, and about what sessions say.
var protocolRules = []rule{
	{"outcome", "an outcome is told once: an ephemeral event with an e tag that names the request", outcomeOnce},
	// Whether a push of one is refused is not checked: whoever pushes has verified the request.
	{"outcome-forged", "no outcome is told of a request whose signature is wrong", func(p *probe) {
		request, s := p.request()
		forged := *request
		forged.Sig = randomID() + randomID()
		_ = s.submit("EVENT", &forged) // a relay refuses it, or stores it for others to judge
		s.got()
	}},
	{"announced", "the NIP-11 document names the key and kinds of outcomes and notices, and a stranger's event of these kinds is refused",
		func(p *probe) {
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
		}},
	{"auth-required", "auth-required: is the answer to a REQ for nothing but 443, 20447 or 20448, and to a 447, of who has not authenticated",
		func(p *probe) {
			s := p.visit()
			for _, filter := range []nostr.Filter{
				keyPackagesOf(p.owner), {Kinds: keyPackageKind}, {Kinds: []int{keypackage.KindOutcome}}, {Kinds: []int{keypackage.KindLevel}},
			} {
				if reason := s.ask("anonymous", filter); !strings.HasPrefix(reason, "auth-required:") {
					p.fail("a REQ for %v ended with %q, not with auth-required", filter, reason)
				}
			}
			refused := func(author actors.Key) {
				if err := s.submit("EVENT", p.question(author)); err == nil || !strings.Contains(err.Error(), "auth-required:") {
					p.fail("a 447 whose author has not authenticated: accepted, or %v", err)
				}
			}
			refused(p.requester)
			s.authenticate(p.requester)
			if reason := s.ask("known", keyPackagesOf(p.owner)); reason != "" {
				p.fail("a REQ after authenticating was closed: %q", reason)
			}
			refused(p.stranger)
		}},
	{"several-keys", "all keys that authenticate on a connection are served", func(p *probe) {
		keys := []actors.Key{p.requester, p.stranger}
		s := p.visit(keys...)
		p.trying = "one of two authenticated keys"
		for _, key := range keys {
			s.serves(keyPackagesOf(key), p.publishKeyPackage(key).ID, true)
		}
		s.events, s.on = nil, nil
		s.subscribed(listening(p.owner))
		deliveries := p.deliveries(len(keys))
		for i, key := range keys {
			p.requester = key
			p.expect(relayapi.Delivered, deliveries[i])
		}
		s.got(deliveries...)
	}},
	{"order", "what a client sends without waiting is dealt with in its order: REQ a, CLOSE a, REQ b, 447 brings the KeyPackage on b",
		func(p *probe) { // the owner has stock, so that whoever serves requests has something to deliver; what must come is pushed
			p.publishKeyPackage(p.owner)
			s, deliveries := p.visit(p.requester), p.deliveries(1)
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
		}},
	{"answered", "a message whose id can be read is answered by OK or CLOSED, whatever else is wrong with it", answered},
	{"req", "a REQ for an owner's KeyPackages brings one before EOSE, if the NIP-11 document says so", func(p *probe) {
		if !slices.Contains(p.announcement().Requests, "REQ") {
			p.skip("the NIP-11 document does not say that a REQ is a request")
		}
		event := p.publishKeyPackage(p.owner)
		s := p.visit(p.requester).subscribed(keyPackagesOf(p.owner))
		if !s.saw(event.ID) {
			p.fail("the end of stored events came before the KeyPackage")
		}
		s.gotEvent(event)
	}},
}

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
	p.push(p.ctx, push)
	p.push(p.ctx, push)
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
	answer := func(frame, label, id string) message {
		s.must("send a message", s.conn.Write(s.ctx, websocket.MessageText, []byte(frame)))
		return s.until(frame+": wait for "+label, s.arrival(), id, label)
	}
	for _, fields := range []string{
		`"kind":443`, `"kind":"443"`, `"kind":443.5`,
		`"kind":443,"pubkey":"KEY","created_at":1.5,"tags":[],"content":"","sig":"IDID"`,
		`"kind":443,"pubkey":"KEY","created_at":"1","tags":[],"content":"","sig":"IDID"`,
		`"kind":447,"pubkey":"KEY","created_at":1,"tags":{},"content":"","sig":"IDID"`,
	} {
		id := randomID()
		event := strings.NewReplacer("ID", id, "KEY", p.requester.Pubkey).Replace(`{"id":"ID",` + fields + `}`)
		if ok := answer(`["EVENT",`+event+`]`, "OK", id); len(ok) < 3 || string(ok[2]) != "false" {
			p.fail("%s was accepted", event)
		}
	}
	for _, frame := range []string{
		`["REQ","id"]`, `["REQ","id",7]`, `["REQ","id",{"kinds":["443"]}]`, `["REQ","id",{"kinds":[443.5]}]`,
		`["REQ","id",{"kinds":[443],"authors":"bob"}]`, `["COUNT","id",{"kinds":["443"]}]`,
	} {
		answer(frame, "CLOSED", "id")
	}
}

func (p *probe) document(collection, id string) map[string]any {
	if p.Documents == nil {
		p.skip("access to Firestore is needed (-project)")
	}
	found, err := p.Documents.Collection(collection).Doc(id).Get(p.ctx)
	p.must("the document of an event that was accepted", err)
	return found.Data()
}
