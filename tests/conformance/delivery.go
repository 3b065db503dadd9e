package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func requesterOnly(ctx context.Context, p *probe) error {
	owner, requester, stranger := actors.NewKey(), actors.NewKey(), actors.NewKey()
	open, err := p.audience(ctx, owner, &requester, &stranger, &owner, nil)
	if err != nil {
		return err
	}
	deliveries := p.deliveries(owner, 1)
	if err := p.expect(ctx, relayapi.Delivered, requester.Pubkey, deliveries...); err != nil {
		return err
	}
	return errors.Join(
		open[0].got(ctx, "the requester", deliveries[0].Event),
		open[1].got(ctx, "somebody else"),
		open[2].got(ctx, "the owner"),
		open[3].got(ctx, "a session that is not authenticated"),
	)
}

// once pushes the same delivery twice to two sessions.
func once(ctx context.Context, p *probe) error {
	owner, requester := actors.NewKey(), actors.NewKey()
	open, err := p.audience(ctx, owner, &requester, &requester)
	if err != nil {
		return err
	}
	for _, s := range open {
		if err := s.subscribe(ctx, "more", nostr.Filter{Authors: []string{owner.Pubkey}}); err != nil {
			return err
		}
	}
	deliveries := p.deliveries(owner, 1)
	for _, attempt := range []string{"first", "second"} {
		if err := p.expect(ctx, relayapi.Delivered, requester.Pubkey, deliveries...); err != nil {
			return fmt.Errorf("%s push: %w", attempt, err)
		}
	}
	return errors.Join(
		open[0].got(ctx, "a session of the requester", deliveries[0].Event),
		open[1].got(ctx, "another session of the requester", deliveries[0].Event),
	)
}

func verbatim(ctx context.Context, p *probe) error {
	owner := actors.NewKey()
	event := p.keyPackage(owner)
	delivery := deliveryOf(event)
	delivery.Event = spread(event)
	return p.arrive(ctx, keyPackagesOf(owner), delivery)
}

// spread is the event in an unusual but valid spelling.
func spread(event *nostr.Event) string {
	tags := must(json.MarshalIndent(event.Tags, "  ", "\t"))
	return fmt.Sprintf("{ \"sig\":%q,\n\"kind\" : %d, \"created_at\":%d,\"pubkey\":%q,\t\"id\":%q,\"tags\":%s, \"content\":%q }",
		event.Sig, event.Kind, event.CreatedAt, event.PubKey, event.ID, tags, event.Content)
}

// arrive fails unless the deliveries reach a session of the requester's that has subscribed with the filter.
func (p *probe) arrive(ctx context.Context, filter nostr.Filter, deliveries ...relayapi.Delivery) error {
	var want []string
	for _, d := range deliveries {
		want = append(want, d.Event)
	}
	return p.pushTo(ctx, filter, relayapi.Delivered, deliveries, want...)
}

// stayAway fails unless the deliveries are answered with the status, and do not reach a session of the requester's that has
// subscribed with the filter.
func (p *probe) stayAway(ctx context.Context, filter nostr.Filter, status relayapi.Status, deliveries ...relayapi.Delivery) error {
	return p.pushTo(ctx, filter, status, deliveries)
}

func (p *probe) pushTo(ctx context.Context, filter nostr.Filter, status relayapi.Status, deliveries []relayapi.Delivery, want ...string) error {
	requester := actors.NewKey()
	s, err := p.listener(ctx, &requester, filter)
	if err != nil {
		return err
	}
	return errors.Join(p.expect(ctx, status, requester.Pubkey, deliveries...), s.got(ctx, "the requester", want...))
}

func limitIgnored(ctx context.Context, p *probe) error {
	owner := actors.NewKey()
	deliveries := p.deliveries(owner, 3)
	filter := keyPackagesOf(owner)
	filter.Limit = 1
	return p.arrive(ctx, filter, deliveries...)
}

func sinceAndUntil(ctx context.Context, p *probe) error {
	owner := actors.NewKey()
	deliveries := p.deliveries(owner, 2)
	later, earlier := nostr.Now()+3600, nostr.Now()-3600
	filters := map[string]nostr.Filter{"since": keyPackagesOf(owner), "until": keyPackagesOf(owner)}
	for name, filter := range filters {
		if filter.Since = &later; name == "until" {
			filter.Since, filter.Until = nil, &earlier
		}
		if err := p.stayAway(ctx, filter, relayapi.NoSubscription, deliveries[0]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		deliveries = deliveries[1:]
	}
	return nil
}
