package actors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Owner is somebody who wants to be reachable: Bob. He publishes KeyPackages and sees his own stock.
type Owner struct {
	Key
	url     string
	session *session
}

// ConnectOwner opens an authenticated session at the relay. ctx bounds the opening only; call Disconnect when done.
func ConnectOwner(ctx context.Context, url string, key Key) (*Owner, error) {
	session, err := connect(ctx, url, key)
	if err != nil {
		return nil, err
	}
	return &Owner{key, url, session}, nil
}

// Disconnect ends the session.
func (o *Owner) Disconnect() { o.session.close() }

// Stockpile publishes n one-time KeyPackages and returns them oldest first, which is the order in which they are to be
// handed out. They are dated one second apart, up to now, so that the order is plain.
func (o *Owner) Stockpile(ctx context.Context, n int) ([]*nostr.Event, error) {
	now := time.Now()
	events := make([]*nostr.Event, n)
	for i := range events {
		created := nostr.Timestamp(now.Unix() - int64(n-1-i))
		event, err := NewKeyPackage(o.Key, o.url, created, mlsgen.Options{})
		if err != nil {
			return nil, err
		}
		if err := o.Publish(ctx, event); err != nil {
			return nil, err
		}
		events[i] = event
	}
	return events, nil
}

// Publish sends a signed event and waits until the relay has accepted it. The error wraps [ErrRefused] if it has not.
func (o *Owner) Publish(ctx context.Context, event *nostr.Event) error {
	return o.session.publish(ctx, event)
}

// Delete withdraws KeyPackages (NIP-09).
func (o *Owner) Delete(ctx context.Context, ids ...string) error {
	tags := nostr.Tags{{"k", fmt.Sprint(keypackage.KindKeyPackage)}}
	for _, id := range ids {
		tags = append(tags, nostr.Tag{"e", id})
	}
	event := newEvent(nostr.KindDeletion, "", tags...)
	if err := o.Sign(event); err != nil {
		return err
	}
	return o.Publish(ctx, event)
}

// Subscribe opens a subscription, or replaces it. told is called with each event, as the relay wrote it, from the goroutine that
// reads; it must not wait.
func (o *Owner) Subscribe(ctx context.Context, id string, filter nostr.Filter, told func(raw string)) error {
	return o.session.subscribe(ctx, id, told, filter)
}

// Stock asks the relay for the owner's KeyPackages and returns them oldest first. All of them have been verified.
func (o *Owner) Stock(ctx context.Context) ([]*nostr.Event, error) {
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{o.Pubkey}}
	raws, err := o.session.fetch(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("list the stock: %w", err)
	}
	stock := make([]*nostr.Event, len(raws))
	for i, raw := range raws {
		if stock[i], err = verifyKeyPackage(raw); err != nil {
			return nil, fmt.Errorf("list the stock: %w", err)
		}
	}
	slices.SortFunc(stock, func(a, b *nostr.Event) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return stock, nil
}
