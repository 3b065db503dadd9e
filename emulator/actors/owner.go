package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Owner is somebody who wants to be reachable: Bob. He publishes KeyPackages and sees his own stock.
type Owner struct {
	Key
	*session
	url string
}

// ConnectOwner opens an authenticated session at the relay. ctx bounds the opening only; call Disconnect when done.
func ConnectOwner(ctx context.Context, url string, key Key) (*Owner, error) {
	session, err := connect(ctx, url, key)
	if err != nil {
		return nil, err
	}
	return &Owner{key, session, url}, nil
}

// Stockpile publishes n one-time KeyPackages and returns them oldest first, which is the order in which they are to be
// handed out. They are dated one second apart, up to now, so that the order is plain.
func (o *Owner) Stockpile(ctx context.Context, n int) ([]*nostr.Event, error) {
	events, now := make([]*nostr.Event, n), nostr.Now()
	for i := range events {
		event, err := NewKeyPackage(o.Key, o.url, now-nostr.Timestamp(n-1-i), mlsgen.Options{})
		if err == nil {
			err = o.Publish(ctx, event)
		}
		if err != nil {
			return nil, err
		}
		events[i] = event
	}
	return events, nil
}

// Delete withdraws KeyPackages (NIP-09).
func (o *Owner) Delete(ctx context.Context, ids ...string) error {
	event := newEvent(nostr.KindDeletion, "", nostr.Tag{"k", fmt.Sprint(keypackage.KindKeyPackage)})
	for _, id := range ids {
		event.Tags = append(event.Tags, nostr.Tag{"e", id})
	}
	if err := o.Sign(event); err != nil {
		return err
	}
	return o.Publish(ctx, event)
}

// Stock asks the relay for the owner's KeyPackages and returns them oldest first. All of them have been verified.
func (o *Owner) Stock(ctx context.Context) (stock []*nostr.Event, err error) {
	const id = "fetch"
	stored := newInbox()
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{o.Pubkey}}
	if err = o.Subscribe(ctx, id, filter, stored.keyPackage); err == nil {
		err = o.unsubscribe(ctx, id)
	}
	stored.mu.Lock() // what is published meanwhile may still come in
	defer stored.mu.Unlock()
	if err = errors.Join(err, stored.faults); err != nil {
		return nil, fmt.Errorf("list the stock: %w", err)
	}
	for _, kp := range stored.keyPackages {
		stock = append(stock, kp.Event)
	}
	slices.SortFunc(stock, func(a, b *nostr.Event) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return stock, nil
}
