package main

import (
	"context"
	"errors"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// packageLife is the lifetime of a KeyPackage: what could not be deleted ends by itself.
const packageLife = time.Hour

// randomID has the form of an event's id.
func randomID() string { return nostr.GeneratePrivateKey() }

// must is for what only fails if this program is wrong.
func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

// signed is the event with the key's signature.
func signed(key actors.Key, event *nostr.Event) *nostr.Event { return must(event, key.Sign(event)) }

// keyPackage is a new KeyPackage.
func (p *probe) keyPackage(owner actors.Key) *nostr.Event {
	return must(actors.NewKeyPackage(owner, p.Relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)}))
}

// publishKeyPackage publishes a new KeyPackage, in a session of its own.
func (p *probe) publishKeyPackage(owner actors.Key) *nostr.Event {
	event := p.keyPackage(owner)
	p.publish(owner, event)
	return event
}

func (p *probe) publish(owner actors.Key, event *nostr.Event) {
	s := p.join(owner)
	p.published = append(p.published, published{owner, event.ID})
	s.publish(event)
}

// withdraw deletes what a check has published (NIP-09), also when its time is up.
func (p *probe) withdraw() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), patience)
	defer cancel()
	var errs []error
	for _, event := range p.published {
		owner, err := actors.ConnectOwner(ctx, p.Relay, event.author)
		if err == nil {
			err = owner.Delete(ctx, event.id)
			owner.Disconnect()
		}
		errs = append(errs, err)
	}
	p.published = nil
	return errors.Join(errs...)
}

// deliveries are n deliveries of new KeyPackages that were never published.
func (p *probe) deliveries(owner actors.Key, n int) []relayapi.Delivery {
	deliveries := make([]relayapi.Delivery, n)
	for i := range deliveries {
		deliveries[i] = deliveryOf(p.keyPackage(owner))
	}
	return deliveries
}

func deliveryOf(event *nostr.Event) relayapi.Delivery {
	return relayapi.Delivery{
		ID: randomID() + "_" + event.ID, KeyPackageEventID: event.ID, OwnerPubkey: event.PubKey, Event: event.String(),
	}
}

func keyPackagesOf(owner actors.Key) nostr.Filter {
	return nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{owner.Pubkey}}
}

// listening is a filter for what is yet to come, which is no request.
func listening(owner actors.Key) nostr.Filter {
	filter := keyPackagesOf(owner)
	filter.LimitZero = true
	return filter
}

// audience opens sessions with a subscription to the owner's KeyPackages. The key of nobody is nil.
func (p *probe) audience(owner actors.Key, keys ...*actors.Key) []*session {
	open := make([]*session, len(keys))
	for i, key := range keys {
		open[i] = p.listener(key, keyPackagesOf(owner))
	}
	return open
}

// request is a signed request to an owner who has no KeyPackage, so that nothing is used up where the functions run, and a
// session of its author's that listens to whatever names it.
func (p *probe) request() (*nostr.Event, *session) {
	key := actors.NewKey()
	request := signed(key, actors.NewRequest(actors.Question{Owners: []string{actors.NewKey().Pubkey}, TTL: life}))
	return request, p.listener(&key, nostr.Filter{Tags: nostr.TagMap{"e": {request.ID}}})
}
