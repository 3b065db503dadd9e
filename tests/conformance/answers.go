package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// noSession has the requester come after a push, which is then made again.
func noSession(ctx context.Context, p *probe) error {
	owner, requester, stranger := actors.NewKey(), actors.NewKey(), actors.NewKey()
	if _, err := p.audience(ctx, owner, &stranger, nil); err != nil {
		return err
	}
	deliveries := p.deliveries(owner, 1)
	if err := p.expect(ctx, relayapi.NoSession, requester.Pubkey, deliveries...); err != nil {
		return err
	}
	if _, err := p.listener(ctx, &requester, listening(owner)); err != nil {
		return err
	}
	return p.expect(ctx, relayapi.Delivered, requester.Pubkey, deliveries...)
}

// noSubscription has sessions with none, with others, and with one that is closed.
func noSubscription(ctx context.Context, p *probe) error {
	owner, requester := actors.NewKey(), actors.NewKey()
	s, err := p.join(ctx, requester)
	if err != nil {
		return err
	}
	deliveries := p.deliveries(owner, 3)
	if err := p.expect(ctx, relayapi.NoSubscription, requester.Pubkey, deliveries[0]); err != nil {
		return fmt.Errorf("without subscriptions: %w", err)
	}
	for i, filter := range []nostr.Filter{keyPackagesOf(actors.NewKey()), {Kinds: []int{nostr.KindTextNote}}} {
		if err := s.subscribe(ctx, fmt.Sprintf("other%d", i), filter); err != nil {
			return err
		}
	}
	if err := p.expect(ctx, relayapi.NoSubscription, requester.Pubkey, deliveries[1]); err != nil {
		return fmt.Errorf("with other subscriptions: %w", err)
	}
	return s.got(ctx, "the requester")
}

func unknownEvent(ctx context.Context, p *probe) error {
	owner := actors.NewKey()
	deliveries := p.deliveries(owner, 1)
	deliveries[0].Event = ""
	return p.stayAway(ctx, keyPackagesOf(owner), relayapi.UnknownEvent, deliveries...)
}

func rejected(ctx context.Context, p *probe) error {
	owner := actors.NewKey()
	other := p.keyPackage(owner)
	note := signed(owner, &nostr.Event{Kind: nostr.KindTextNote, CreatedAt: nostr.Now(), Content: "not a KeyPackage"})
	good := deliveryOf(other)
	wrong := map[string]relayapi.Delivery{
		"another id":         altered(good, func(d *relayapi.Delivery) { d.KeyPackageEventID = randomID() }),
		"another owner":      altered(good, func(d *relayapi.Delivery) { d.OwnerPubkey = actors.NewKey().Pubkey }),
		"a wrong signature":  altered(good, func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, other.Sig, note.Sig, 1) }),
		"a wrong content":    altered(good, func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, other.Content, "AAAA", 1) }),
		"no JSON":            altered(good, func(d *relayapi.Delivery) { d.Event = "x" }),
		"more than an event": altered(good, func(d *relayapi.Delivery) { d.Event += `,"more"` }),
		"another kind":       deliveryOf(note),
	}
	for what, d := range wrong {
		filter := nostr.Filter{Authors: []string{owner.Pubkey}} // of any kind
		if err := p.stayAway(ctx, filter, relayapi.Rejected, d); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func altered(d relayapi.Delivery, change func(*relayapi.Delivery)) relayapi.Delivery {
	change(&d)
	return d
}
