package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// stored443 asks for a stored KeyPackage in every way that could bring it.
func stored443(ctx context.Context, p *probe) (err error) {
	owner, stranger := actors.NewKey(), actors.NewKey()
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.withdraw(ctx, owner, event)) }()
	since := keyPackagesOf(owner)
	since.Since = new(nostr.Timestamp) // without it, this may be a request and no reading
	named := []nostr.Filter{since, {Kinds: []int{keypackage.KindKeyPackage}, Limit: 500}}
	others := append(slices.Clip(named), nostr.Filter{Authors: []string{owner.Pubkey}}, nostr.Filter{IDs: []string{event.ID}})
	for _, reader := range []struct {
		who  string
		key  *actors.Key
		ways []nostr.Filter
	}{
		{"the author", &owner, append(slices.Clip(named), keyPackagesOf(owner))},
		{"somebody else", &stranger, others},
		{"a session that is not authenticated", nil, others},
	} {
		if err := p.reads(ctx, reader.key, event.ID, reader.key == &owner, reader.ways); err != nil {
			return fmt.Errorf("%s %w", reader.who, err)
		}
	}
	return nil
}

// publishKeyPackage publishes a KeyPackage in a session that is closed again.
func (p *probe) publishKeyPackage(ctx context.Context, owner actors.Key) (*nostr.Event, error) {
	event, err := p.keyPackage(owner)
	if err != nil {
		return nil, err
	}
	s, err := p.join(ctx, owner)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	return event, s.publish(ctx, event)
}

// reads fails unless a session that asks in these ways, one after another, sees the KeyPackage each time, or never.
func (p *probe) reads(ctx context.Context, key *actors.Key, id string, allowed bool, ways []nostr.Filter) error {
	s, err := p.member(ctx, key)
	if err != nil {
		return fmt.Errorf("could not connect: %w", err)
	}
	defer s.leave()
	for _, filter := range ways {
		s.events = nil
		if err := s.subscribe(ctx, "read", filter); err != nil {
			return fmt.Errorf("could not ask for %v: %w", filter, err)
		}
		if saw := contains(s.events, id); saw != allowed {
			return fmt.Errorf("asked for %v: the KeyPackage was served: %v", filter, saw)
		}
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

func new443(ctx context.Context, p *probe) (err error) {
	owner, stranger := actors.NewKey(), actors.NewKey()
	open, err := p.audience(ctx, owner, &owner, &stranger, nil)
	if err != nil {
		return err
	}
	defer leave(open)
	event, err := p.publishKeyPackage(ctx, owner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.withdraw(ctx, owner, event)) }()
	return errors.Join(
		open[0].gotEvent(ctx, "another session of the author", event),
		open[1].got(ctx, "somebody else"),
		open[2].got(ctx, "a session that is not authenticated"),
	)
}
