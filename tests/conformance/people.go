package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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

func (p *probe) keyPackage(owner actors.Key) (*nostr.Event, error) {
	return actors.NewKeyPackage(owner, p.Relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)})
}

// deliveries are n deliveries of new KeyPackages that were never published.
func (p *probe) deliveries(owner actors.Key, n int) ([]relayapi.Delivery, error) {
	deliveries := make([]relayapi.Delivery, n)
	for i := range deliveries {
		event, err := p.keyPackage(owner)
		if err != nil {
			return nil, err
		}
		deliveries[i] = deliveryOf(event)
	}
	return deliveries, nil
}

func deliveryOf(event *nostr.Event) relayapi.Delivery {
	return relayapi.Delivery{
		ID: randomID() + "_" + event.ID, KeyPackageEventID: event.ID, OwnerPubkey: event.PubKey, Event: event.String(),
	}
}

func keyPackagesOf(owner actors.Key) nostr.Filter {
	return nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{owner.Pubkey}}
}

// audience opens sessions with a subscription to the owner's KeyPackages. The key of nobody is nil.
func (p *probe) audience(ctx context.Context, owner actors.Key, keys ...*actors.Key) ([]*session, error) {
	var open []*session
	for _, key := range keys {
		s, err := p.member(ctx, key)
		if err == nil {
			open = append(open, s)
			err = s.subscribe(ctx, "keypackages", keyPackagesOf(owner))
		}
		if err != nil {
			leave(open)
			return nil, err
		}
	}
	return open, nil
}

func (p *probe) member(ctx context.Context, key *actors.Key) (*session, error) {
	if key == nil {
		return p.visit(ctx)
	}
	return p.join(ctx, *key)
}

// listener opens a session of the requester's that is subscribed to the owner's KeyPackages.
func (p *probe) listener(ctx context.Context, requester, owner actors.Key) (*session, error) {
	open, err := p.audience(ctx, owner, &requester)
	if err != nil {
		return nil, err
	}
	return open[0], nil
}

func leave(sessions []*session) {
	for _, s := range sessions {
		s.leave()
	}
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
	open := map[string]int{}
	for _, raw := range want {
		open[raw]++
	}
	for _, raw := range received {
		if open[raw]--; open[raw] < 0 {
			return fmt.Errorf("%s received something else than was sent", who)
		}
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
func (p *probe) withdraw(ctx context.Context, key actors.Key, events ...*nostr.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	owner, err := actors.ConnectOwner(ctx, p.Relay, key)
	if err != nil {
		return fmt.Errorf("delete a KeyPackage: %w", err)
	}
	defer owner.Disconnect()
	var errs []error
	for _, event := range events {
		errs = append(errs, owner.Delete(ctx, event.ID))
	}
	return errors.Join(errs...)
}
