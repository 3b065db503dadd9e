package actors

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

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
