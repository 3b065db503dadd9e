package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var keyPackageRules = []rule{
	{"stored-443", "a stored 443 is served to sessions authenticated as its author, and to nobody else, nor counted or synchronised", stored443},
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
		for _, filter := range ways { // also in its author's name
			s.serves(filter, request.ID, false)
		}
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

// stored443 asks for a stored KeyPackage in every way that could bring it.
func stored443(p *probe) {
	event := p.publishKeyPackage(p.owner)
	ways := []nostr.Filter{
		{Kinds: keyPackageKind, Authors: []string{p.owner.Pubkey}, Since: new(nostr.Timestamp)}, // without since, a request and no reading
		{Kinds: keyPackageKind, Limit: 500}, {Authors: []string{p.owner.Pubkey}}, {IDs: []string{event.ID}},
	}
	p.visit(p.owner).reads(event.ID, true, append(slices.Clip(ways), keyPackagesOf(p.owner))...)
	p.visit(p.stranger).reads(event.ID, false, ways...)
	p.visit().reads(event.ID, false, ways...)
}

// reads asks in these ways. It fails unless the session sees the event each time, or never, and is not told of it either.
func (s *session) reads(id string, allowed bool, ways ...nostr.Filter) {
	s.trying = s.who
	for _, filter := range ways {
		s.serves(filter, id, allowed)
	}
	if !allowed {
		s.toldNothing(id, ways)
	}
}

// toldNothing fails if the relay tells of the event without sending it: by its count (NIP-45), or its id (NIP-77).
func (s *session) toldNothing(id string, ways []nostr.Filter) {
	const nothingYet = "6100000200" // a client that has nothing and wants to know of everything
	for i, filter := range ways {
		name := fmt.Sprint("secret", i)
		s.send("COUNT", name, filter)
		s.send("NEG-OPEN", name, filter, nothingYet)
	}
	found, err := s.find(s.Quiet, func(m message) bool {
		var answer struct{ Count int }
		counts := m.text(0) == "COUNT" && len(m) > 2 && json.Unmarshal(m[2], &answer) == nil && answer.Count > 0
		return counts || m.text(0) == "NEG-MSG" && strings.Contains(m.text(2), id)
	})
	s.must("listen", err)
	if found != nil {
		s.fail("was told of the event by a %s", found.text(0))
	}
}

// document returns the fields of what the relay has written.
func (p *probe) document(collection, id string) map[string]any {
	if p.Documents == nil {
		p.skip("access to Firestore is needed (-project)")
	}
	found, err := p.Documents.Collection(collection).Doc(id).Get(p.ctx)
	p.must("the document of an event that was accepted", err)
	return found.Data()
}
