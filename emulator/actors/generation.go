package actors

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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
	event := newEvent(g.Kind, g.content(encoded),
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

func (g Generation) content(encoded []byte) string {
	if g.framed {
		encoded = mlsgen.Frame(encoded)
	}
	if g.hex {
		return hex.EncodeToString(encoded)
	}
	return base64.StdEncoding.EncodeToString(encoded)
}
