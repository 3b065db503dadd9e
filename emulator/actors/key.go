// Package actors plays the people around the relay: owners, who publish KeyPackages, and requesters, who ask for them.
// They are ordinary Nostr clients on real websockets. They know nothing of the functions, and check the id and the
// signatures of everything they receive, as a careful client does.
//
// Owner and Requester are safe for concurrent use. Nothing waits longer than the context that it is given.
package actors

import (
	"fmt"

	"github.com/nbd-wtf/go-nostr"
)

// Key is a Nostr identity, in hex.
type Key struct {
	Secret string
	Pubkey string
}

// NewKey makes an identity that nobody has.
func NewKey() Key {
	secret := nostr.GeneratePrivateKey()
	pubkey, err := nostr.GetPublicKey(secret)
	if err != nil {
		panic(fmt.Sprintf("public key of a generated secret: %v", err)) // cannot happen
	}
	return Key{secret, pubkey}
}

// Sign completes the event with the key's id, public key and signature.
func (k Key) Sign(event *nostr.Event) error {
	if err := event.Sign(k.Secret); err != nil {
		return fmt.Errorf("sign a kind-%d event: %w", event.Kind, err)
	}
	return nil
}

// newEvent returns an unsigned event of now.
func newEvent(kind int, content string, tags ...nostr.Tag) *nostr.Event {
	return &nostr.Event{Kind: kind, CreatedAt: nostr.Now(), Tags: tags, Content: content}
}
