package main

import (
	"context"
	"encoding/json"
	"errors"
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
func stored443(ctx context.Context, p *probe) error {
	owner, stranger := actors.NewKey(), actors.NewKey()
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	since := keyPackagesOf(owner)
	since.Since = new(nostr.Timestamp) // without it, this may be a request and no reading
	named := []nostr.Filter{since, {Kinds: []int{keypackage.KindKeyPackage}, Limit: 500}}
	others := append(slices.Clip(named), nostr.Filter{Authors: []string{owner.Pubkey}}, nostr.Filter{IDs: []string{event.ID}})
	for _, reader := range []struct {
		who  string
		key  *actors.Key
		ways []nostr.Filter
	}{
		{"the author", &owner, append(slices.Clip(others), keyPackagesOf(owner))},
		{"somebody else", &stranger, others},
		{"a session that is not authenticated", nil, others},
	} {
		if err := p.reads(ctx, reader.key, event.ID, reader.key == &owner, reader.ways); err != nil {
			return fmt.Errorf("%s %w", reader.who, err)
		}
	}
	return nil
}

// publishKeyPackage publishes a new KeyPackage, in a session of its own.
func (p *probe) publishKeyPackage(ctx context.Context, owner actors.Key) (*nostr.Event, error) {
	event := p.keyPackage(owner)
	return event, p.publish(ctx, owner, event)
}

func (p *probe) publish(ctx context.Context, owner actors.Key, event *nostr.Event) error {
	s, err := p.join(ctx, owner)
	if err != nil {
		return err
	}
	p.published = append(p.published, published{owner, event.ID})
	return s.publish(ctx, event)
}

// reads fails unless a session that asks in these ways, one after another, sees the event each time, or never.
func (p *probe) reads(ctx context.Context, key *actors.Key, id string, allowed bool, ways []nostr.Filter) error {
	s, err := p.member(ctx, key)
	if err != nil {
		return fmt.Errorf("could not connect: %w", err)
	}
	for _, filter := range ways {
		if err := s.serves(ctx, filter, id, allowed); err != nil {
			return err
		}
	}
	if allowed {
		return nil
	}
	return s.toldNothing(ctx, id, ways)
}

// toldNothing fails if the relay tells of the event without sending it: by its count (NIP-45), or its id (NIP-77).
func (s *session) toldNothing(ctx context.Context, id string, ways []nostr.Filter) error {
	const nothingYet = "6100000200" // a client that has nothing and wants to know of everything
	for i, filter := range ways {
		name := fmt.Sprint("secret", i)
		if err := errors.Join(s.send(ctx, "COUNT", name, filter), s.send(ctx, "NEG-OPEN", name, filter, nothingYet)); err != nil {
			return err
		}
	}
	found, err := s.until(ctx, s.probe.Quiet, func(m message) bool { return m.counts() || m.label() == "NEG-MSG" && strings.Contains(m.text(2), id) })
	if err == nil {
		return fmt.Errorf("was told of the event by a %s", found.label())
	}
	return notOver(ctx, err)
}

// counts reports whether this says that there are events.
func (m message) counts() bool {
	var answer struct{ Count int }
	return m.label() == "COUNT" && len(m) > 2 && json.Unmarshal(m[2], &answer) == nil && answer.Count > 0
}

// stored447 asks for a request, in its author's name, too.
func stored447(ctx context.Context, p *probe) error {
	request, s, err := p.asker(ctx)
	if err != nil {
		return err
	}
	if err := s.publish(ctx, request); err != nil {
		return err
	}
	ways := []nostr.Filter{{Kinds: []int{keypackage.KindRequest}, Authors: []string{request.PubKey}}, {IDs: []string{request.ID}}}
	for _, filter := range ways {
		if err := s.serves(ctx, filter, request.ID, false); err != nil {
			return fmt.Errorf("its author %w", err)
		}
	}
	stranger := actors.NewKey()
	if err := p.reads(ctx, &stranger, request.ID, false, ways); err != nil {
		return fmt.Errorf("somebody else %w", err)
	}
	return nil
}

// contains reports whether the event is among these, in whatever spelling.
func contains(raws []string, id string) bool {
	for _, raw := range raws {
		var event nostr.Event
		if event.UnmarshalJSON([]byte(raw)) == nil && event.ID == id {
			return true
		}
	}
	return false
}

func new443(ctx context.Context, p *probe) error {
	owner, stranger := actors.NewKey(), actors.NewKey()
	open, err := p.audience(ctx, owner, &owner, &stranger, nil)
	if err != nil {
		return err
	}
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	return errors.Join(
		open[0].gotEvent(ctx, "another session of the author", event),
		open[1].got(ctx, "somebody else"),
		open[2].got(ctx, "a session that is not authenticated"),
	)
}

// addressable has everybody read a kind 30443.
func addressable(ctx context.Context, p *probe) error {
	owner, stranger := actors.NewKey(), actors.NewKey()
	encoded := must(mlsgen.New(mlsgen.Options{Owner: owner.Pubkey, NotAfter: time.Now().Add(packageLife)}))
	event := must(actors.MDK.Publish(owner, encoded, p.Relay, nostr.Now()))
	if err := p.publish(ctx, owner, event); err != nil {
		return err
	}
	ways := []nostr.Filter{{Kinds: []int{keypackage.KindAddressableKeyPackage}, Authors: []string{owner.Pubkey}}}
	for who, key := range map[string]*actors.Key{"its author": &owner, "somebody else": &stranger, "a session that is not authenticated": nil} {
		if err := p.reads(ctx, key, event.ID, true, ways); err != nil {
			return fmt.Errorf("%s %w", who, err)
		}
	}
	return nil
}
