package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// packageLife is the lifetime of a KeyPackage: what could not be deleted ends by itself.
const packageLife = time.Hour

func randomID() string {
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// keyPackage is a new KeyPackage.
func (p *probe) keyPackage(owner actors.Key) *nostr.Event {
	event, err := actors.NewKeyPackage(owner, p.Relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)})
	return must(event, err)
}

// must is for what only fails if this program is wrong.
func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

// signed is the event with the key's signature.
func signed(key actors.Key, event *nostr.Event) *nostr.Event { return must(event, key.Sign(event)) }

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
func (p *probe) audience(ctx context.Context, owner actors.Key, keys ...*actors.Key) ([]*session, error) {
	var open []*session
	for _, key := range keys {
		s, err := p.listener(ctx, key, keyPackagesOf(owner))
		if err != nil {
			return nil, err
		}
		open = append(open, s)
	}
	return open, nil
}

// listener opens a session with a subscription.
func (p *probe) listener(ctx context.Context, key *actors.Key, filter nostr.Filter) (*session, error) {
	s, err := p.member(ctx, key)
	if err != nil {
		return nil, err
	}
	return s, s.subscribe(ctx, "keypackages", filter)
}

func (p *probe) member(ctx context.Context, key *actors.Key) (*session, error) {
	if key == nil {
		return p.visit(ctx)
	}
	return p.join(ctx, *key)
}

// got fails unless these events, in any order, are what the session has received.
func (s *session) got(ctx context.Context, who string, want ...string) error {
	received, err := s.all(ctx, len(want))
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if len(received) != len(want) {
		return fmt.Errorf("%s received %d events instead of %d", who, len(received), len(want))
	}
	if !slices.Equal(slices.Sorted(slices.Values(received)), slices.Sorted(slices.Values(want))) {
		return fmt.Errorf("%s received something else than was sent", who)
	}
	return nil
}

// gotEvent is got for an event whose spelling is the relay's choice.
func (s *session) gotEvent(ctx context.Context, who string, want *nostr.Event) error {
	received, err := s.all(ctx, 1)
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if len(received) != 1 {
		return fmt.Errorf("%s received %d events instead of the KeyPackage alone", who, len(received))
	}
	if event, err := keypackage.VerifyEvent(received[0]); err != nil || event.ID != want.ID {
		return fmt.Errorf("%s received something else than the KeyPackage", who)
	}
	return nil
}

// withdraw deletes what a check has published (NIP-09), also when its time is up.
func (p *probe) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
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
