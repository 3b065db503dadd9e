package actors

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
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

// Generation is how a generation of clients publishes a KeyPackage. Two events with the same bytes are twins.
type Generation struct {
	Name     string
	Kind     int
	hex      bool // otherwise base64
	framed   bool // as an MLSMessage
	encoding bool // says so in a tag, as whatever is not hex once had to
	suiteTag string
}

// The generations that are in use.
var (
	NIPEE  = Generation{"NIP-EE", keypackage.KindKeyPackage, true, false, false, "ciphersuite"}
	MIP00  = Generation{"MIP-00", keypackage.KindKeyPackage, false, false, true, "mls_ciphersuite"}
	Framed = Generation{"MIP-00, framed", keypackage.KindKeyPackage, false, true, true, "mls_ciphersuite"}
	MDK    = Generation{"MDK", keypackage.KindAddressableKeyPackage, false, false, true, "mls_ciphersuite"}
	Marmot = Generation{"Marmot", keypackage.KindAddressableKeyPackage, false, true, false, "mls_ciphersuite"}
)

// Publish returns an encoded KeyPackage, which is not framed, as a signed event of the generation. Addressable ones all take
// the owner's one slot, and so replace each other. The relay is the URL at which requests for more are to be sent.
func (g Generation) Publish(key Key, encoded []byte, relay string, createdAt nostr.Timestamp) (*nostr.Event, error) {
	parsed, err := mls.Parse(encoded)
	if err != nil {
		return nil, fmt.Errorf("read back a KeyPackage: %w", err)
	}
	if g.framed {
		encoded = mlsgen.Frame(encoded)
	}
	content := base64.StdEncoding.EncodeToString(encoded)
	if g.hex {
		content = hex.EncodeToString(encoded)
	}
	event := newEvent(g.Kind, content,
		nostr.Tag{"mls_protocol_version", "1.0"},
		nostr.Tag{g.suiteTag, keypackage.SuiteKey(parsed.Ciphersuite)},
		nostr.Tag{"mls_extensions", "0xf2ee", "0x000a"},
		nostr.Tag{"relays", relay},
		nostr.Tag{"client", "keypackage-delivery"},
	)
	if g.encoding {
		event.Tags = append(event.Tags, nostr.Tag{"encoding", "base64"})
	}
	if g.Kind == keypackage.KindAddressableKeyPackage {
		slot := sha256.Sum256([]byte("slot of " + key.Pubkey))
		event.Tags = append(event.Tags, nostr.Tag{"d", hex.EncodeToString(slot[:])})
	}
	if !g.hex {
		event.Tags = append(event.Tags, nostr.Tag{"i", hex.EncodeToString(parsed.Ref())})
	}
	event.CreatedAt = createdAt
	return event, key.Sign(event)
}

// NewKeyPackage makes a KeyPackage of the key's owner and returns it as a signed event in the form of MIP-00 clients. The
// relay is the URL at which requests for more are to be sent.
func NewKeyPackage(key Key, relay string, createdAt nostr.Timestamp, options mlsgen.Options) (*nostr.Event, error) {
	options.Owner = key.Pubkey
	encoded, err := mlsgen.New(options)
	if err != nil {
		return nil, err
	}
	return MIP00.Publish(key, encoded, relay, createdAt)
}
