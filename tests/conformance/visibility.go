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

// stored443 asks for a stored KeyPackage in every way that could bring it.
func stored443(p *probe) {
	owner, stranger := actors.NewKey(), actors.NewKey()
	event := p.publishKeyPackage(owner)
	since := keyPackagesOf(owner)
	since.Since = new(nostr.Timestamp) // without it, this may be a request and no reading
	ways := []nostr.Filter{
		since, {Kinds: []int{keypackage.KindKeyPackage}, Limit: 500}, {Authors: []string{owner.Pubkey}}, {IDs: []string{event.ID}},
	}
	p.reads(&owner, event.ID, true, append(slices.Clip(ways), keyPackagesOf(owner))...)
	p.reads(&stranger, event.ID, false, ways...)
	p.reads(nil, event.ID, false, ways...)
}

// reads fails unless a session of that key (nil: nobody's) that asks in these ways, one after another, sees the event each time, or
// never, and is not told of it either.
func (p *probe) reads(key *actors.Key, id string, allowed bool, ways ...nostr.Filter) {
	s := p.visit()
	p.trying = "a session that is not authenticated"
	if key != nil {
		s.authenticate(*key)
		p.trying = "a session of " + key.Pubkey
	}
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
	found, err := s.find(s.Quiet, func(m message) bool { return m.counts() || m.label() == "NEG-MSG" && strings.Contains(m.text(2), id) })
	if err == nil {
		s.fail("was told of the event by a %s", found.label())
	}
	s.must("listen", s.notOver(err))
}

// counts reports whether this says that there are events.
func (m message) counts() bool {
	var answer struct{ Count int }
	return m.label() == "COUNT" && len(m) > 2 && json.Unmarshal(m[2], &answer) == nil && answer.Count > 0
}

// stored447 asks for a request, in its author's name, too.
func stored447(p *probe) {
	request, s := p.request()
	s.publish(request)
	ways := []nostr.Filter{{Kinds: []int{keypackage.KindRequest}, Authors: []string{request.PubKey}}, {IDs: []string{request.ID}}}
	for _, filter := range ways {
		s.serves(filter, request.ID, false)
	}
	stranger := actors.NewKey()
	p.reads(&stranger, request.ID, false, ways...)
}

func new443(p *probe) {
	owner, stranger := actors.NewKey(), actors.NewKey()
	open := p.audience(owner, &owner, &stranger, nil)
	event := p.publishKeyPackage(owner)
	open[0].gotEvent("another session of the author", event)
	open[1].got("somebody else")
	open[2].got("a session that is not authenticated")
}

// addressable has everybody read a kind 30443.
func addressable(p *probe) {
	owner, stranger := actors.NewKey(), actors.NewKey()
	encoded := must(mlsgen.New(mlsgen.Options{Owner: owner.Pubkey, NotAfter: time.Now().Add(packageLife)}))
	event := must(actors.MDK.Publish(owner, encoded, p.Relay, nostr.Now()))
	p.publish(owner, event)
	for _, key := range []*actors.Key{&owner, &stranger, nil} {
		p.reads(key, event.ID, true, nostr.Filter{Kinds: []int{keypackage.KindAddressableKeyPackage}, Authors: []string{owner.Pubkey}})
	}
}

// deleted publishes a KeyPackage and its deletion, one after another and in one breath, and then the KeyPackage once more.
func deleted(p *probe) {
	for _, atOnce := range []bool{false, true} {
		p.trying = fmt.Sprintf("a KeyPackage that is deleted at once: %v", atOnce)
		owner := actors.NewKey()
		event, s := p.keyPackage(owner), p.join(owner)
		if atOnce {
			s.send("EVENT", event)
		} else {
			s.publish(event)
		}
		s.publish(signed(owner, &nostr.Event{Kind: nostr.KindDeletion, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"e", event.ID}}}))
		s.serves(keyPackagesOf(owner), event.ID, false)
		_ = s.submit("EVENT", event) // a relay may refuse it, or say that it knows it
		s.serves(keyPackagesOf(owner), event.ID, false)
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

func documents(p *probe) {
	owner := actors.NewKey()
	event := p.publishKeyPackage(owner)
	created := p.document(p.Collections.KeyPackages, event.ID)[keypackage.FieldCreatedAt]
	if created != int64(event.CreatedAt) {
		p.fail("created_at of a KeyPackage's document is no integer: %T", created)
	}
	p.must("delete a KeyPackage", p.withdraw())
	p.document(p.Collections.Tombstones, keypackage.TombstoneID(event.ID, owner.Pubkey))
}

// openMark looks at a request's document. Once the request is answered, the mark has gone and keep_until has come.
func openMark(p *probe) {
	request, s := p.request()
	s.publish(request)
	fields := p.document(p.Collections.Requests, request.ID)
	if _, over := fields[keypackage.FieldKeepUntil]; !over && !keypackage.ReadRequestDocument(request.ID, fields, time.Time{}).Marked {
		p.fail("open is %v: a request whose trigger is lost would never be found", fields[keypackage.FieldOpen])
	}
}
