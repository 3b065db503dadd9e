package keypackage_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// now is the time at which everything in these tests happens.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const maxMin = 10

// identity is a Nostr key pair that is the same in every run.
type identity struct{ secret, pubkey string }

var (
	alice = newIdentity(1)
	bob   = newIdentity(2)
	carol = newIdentity(3)
)

func newIdentity(n int) identity {
	secret := fmt.Sprintf("%064x", n)
	pubkey, err := nostr.GetPublicKey(secret)
	if err != nil {
		panic(err)
	}
	return identity{secret, pubkey}
}

// sign returns a signed event of now.
func (i identity) sign(t testing.TB, kind int, content string, tags ...nostr.Tag) *nostr.Event {
	t.Helper()
	event := &nostr.Event{Kind: kind, CreatedAt: nostr.Timestamp(now.Unix()), Tags: tags, Content: content}
	if err := event.Sign(i.secret); err != nil {
		t.Fatal(err)
	}
	return event
}

// request returns the document of Alice's signed request.
func request(t testing.TB, tags ...nostr.Tag) keypackage.RequestDocument {
	t.Helper()
	return stored(alice.sign(t, keypackage.KindRequest, "", tags...))
}

// stored returns the document that the relay makes of an event.
func stored(event *nostr.Event) keypackage.RequestDocument {
	return keypackage.RequestDocument{
		ID: event.ID, Event: encode(event), Kind: int64(event.Kind), HasKind: true, ReceivedAt: now,
	}
}

func encode(event *nostr.Event) string {
	raw, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// keyPackage returns the bytes of one of Bob's KeyPackages, valid at now, the same for the same seed.
func keyPackage(t testing.TB, seed byte, edit func(*mlsgen.Options)) []byte {
	t.Helper()
	options := mlsgen.Options{Owner: bob.pubkey, NotBefore: now.Add(-time.Hour), Rand: rand.NewChaCha8([32]byte{seed})}
	if edit != nil {
		edit(&options)
	}
	made, err := mlsgen.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// published returns the document of an event that carries a KeyPackage, and its id.
func published(event *nostr.Event) (string, keypackage.Document) {
	return event.ID, keypackage.Document{
		"event_id": event.ID, "owner_pubkey": event.PubKey, "content": event.Content, "ciphersuite": "0x0001",
		"extensions": []any{"0x000a"}, "relays": []any{"wss://relay.example"},
		"created_at": int64(event.CreatedAt), "event": encode(event),
	}
}

// unsigned returns the document that today's relay makes: without the event.
func unsigned(content string) (string, keypackage.Document) {
	return fmt.Sprintf("%064x", 7), keypackage.Document{
		"event_id": fmt.Sprintf("%064x", 7), "owner_pubkey": bob.pubkey, "content": content, "ciphersuite": "",
		"extensions": []any{}, "relays": []any{}, "created_at": now.Add(-time.Minute).Unix(),
		"expires_at": now.Add(24 * time.Hour).Unix(),
	}
}

func inHex(b []byte) string { return hex.EncodeToString(b) }

func p(pubkey string) nostr.Tag { return nostr.Tag{"p", pubkey} }
