package actors

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// NewKeyPackage makes a KeyPackage of the key's owner and returns it as a signed kind-443 event, in the form that MIP-00
// clients use: base64 of the bare package, with the tags that say so. The relay is the URL at which requests for more are
// to be sent.
func NewKeyPackage(key Key, relay string, createdAt nostr.Timestamp, options mlsgen.Options) (*nostr.Event, error) {
	options.Owner = key.Pubkey
	encoded, err := mlsgen.New(options)
	if err != nil {
		return nil, err
	}
	parsed, err := mls.Parse(encoded)
	if err != nil {
		return nil, fmt.Errorf("read back a KeyPackage: %w", err)
	}
	event := newEvent(keypackage.KindKeyPackage, base64.StdEncoding.EncodeToString(encoded),
		nostr.Tag{"mls_protocol_version", "1.0"},
		nostr.Tag{"mls_ciphersuite", fmt.Sprintf("0x%04x", uint16(parsed.Ciphersuite))},
		nostr.Tag{"mls_extensions", "0xf2ee", "0x000a"},
		nostr.Tag{"encoding", "base64"},
		nostr.Tag{"i", hex.EncodeToString(parsed.Ref())},
		nostr.Tag{"relays", relay},
		nostr.Tag{"client", "keypackage-delivery"},
	)
	event.CreatedAt = createdAt
	return event, key.Sign(event)
}

// verifyKeyPackage checks a kind-443 event as a client does before it adds somebody to a group: id and signature of the
// event, then the KeyPackage with its own signatures, which has to be the author's.
func verifyKeyPackage(raw string) (*nostr.Event, error) {
	event, err := keypackage.VerifyEvent(raw)
	if err != nil {
		return event, err
	}
	if event.Kind != keypackage.KindKeyPackage {
		return event, fmt.Errorf("kind %d instead of a KeyPackage", event.Kind)
	}
	encoded, err := mls.DecodeContent(event.Content)
	if err != nil {
		return event, fmt.Errorf("KeyPackage: %w", err)
	}
	parsed, err := mls.Parse(encoded)
	if err != nil {
		return event, fmt.Errorf("KeyPackage: %w", err)
	}
	if err := mls.Verify(parsed, event.PubKey); err != nil {
		return event, fmt.Errorf("KeyPackage: %w", err)
	}
	if ref := event.Tags.Find("i"); ref != nil && ref[1] != hex.EncodeToString(parsed.Ref()) {
		return event, errors.New("KeyPackage: the reference in the i tag is another one's")
	}
	return event, nil
}
