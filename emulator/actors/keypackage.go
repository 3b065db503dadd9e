package actors

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

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

// verifyKeyPackage checks a kind-443 or kind-30443 event as a client does before it adds somebody to a group: id and
// signature of the event, then the KeyPackage with its own signatures, which has to be the author's.
func verifyKeyPackage(raw string) (*nostr.Event, error) {
	event, err := keypackage.VerifyEvent(raw)
	if err != nil {
		return event, err
	}
	if event.Kind != keypackage.KindKeyPackage && event.Kind != keypackage.KindAddressableKeyPackage {
		return event, fmt.Errorf("kind %d instead of a KeyPackage", event.Kind)
	}
	parsed, err := mls.ParseContent(event.Content)
	if err == nil {
		err = mls.Verify(parsed, event.PubKey)
	}
	if err != nil {
		return event, fmt.Errorf("KeyPackage: %w", err)
	}
	if ref := event.Tags.Find("i"); ref != nil && ref[1] != hex.EncodeToString(parsed.Ref()) {
		return event, errors.New("KeyPackage: the i tag is the reference of another KeyPackage")
	}
	return event, nil
}
