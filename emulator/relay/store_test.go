package relay

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func TestShapeOfAKeyPackage(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob := l.join(t)
	e := bob.event(443, "not base64!\u2028<&>\"\\\x01é🙂",
		nostr.Tag{"mls_ciphersuite", "0x0001"}, nostr.Tag{"mls_extensions", "0x000a", "0x0004"},
		nostr.Tag{"relays", "wss://a", "wss://b"}, nostr.Tag{"exp", "1795415479"})
	bob.mustPublish(e)
	bob.mustPublish(e) // again is no error
	got := l.document(t, l.names.KeyPackages, e.ID)
	want := map[string]any{
		"event_id": e.ID, "owner_pubkey": bob.pubkey, "content": e.Content, "ciphersuite": "0x0001",
		"created_at": int64(e.CreatedAt), "expires_at": int64(1795415479),
		"extensions": []any{"0x000a", "0x0004"}, "relays": []any{"wss://a", "wss://b"}, "event": got["event"],
	}
	asJSON := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	if asJSON(got) != asJSON(want) {
		t.Errorf("got  %s\nwant %s", asJSON(got), asJSON(want))
	}
	stored, err := keypackage.VerifyEvent(got["event"].(string))
	if err != nil || stored.ID != e.ID || stored.Sig != e.Sig || stored.Content != e.Content {
		t.Errorf("the stored event is not the published one: %v", err)
	}
}

func TestShapeOfARequest(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	alice := l.join(t)
	e := alice.mustPublish(alice.event(447, "", nostr.Tag{"p", bob}))
	alice.mustPublish(e)
	got := l.document(t, l.names.Requests, e.ID)
	received, isTime := got["received_at"].(time.Time)
	if got["kind"] != int64(447) || got["pubkey"] != alice.pubkey || got["created_at"] != int64(e.CreatedAt) || !isTime || received.IsZero() {
		t.Errorf("got %v", got)
	}
	if stored, err := keypackage.VerifyEvent(got["event"].(string)); err != nil || stored.ID != e.ID {
		t.Errorf("the stored event is not the published one: %v", err)
	}
}

func TestConsumedKeyPackageMayBePublishedAgain(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob := l.join(t)
	e := bob.mustPublish(bob.event(443, ""))
	if _, err := l.documents.Collection(l.names.KeyPackages).Doc(e.ID).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob.mustPublish(e)
	if l.document(t, l.names.KeyPackages, e.ID) == nil {
		t.Error("it is not stored")
	}
}

func TestInvalidEventsAreNotStored(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	u := l.join(t)
	signature, id := u.event(447, "", nostr.Tag{"p", bob}), u.event(447, "", nostr.Tag{"p", bob})
	signature.Sig = u.event(447, "other").Sig
	id.ID = strings.Repeat("0", 64)
	large := u.event(443, strings.Repeat("A", keypackage.MaxEventBytes))
	for name, e := range map[string]*nostr.Event{"signature": signature, "id": id, "large": large} {
		if reason := u.publish(e); !strings.HasPrefix(reason, "invalid: ") {
			t.Errorf("%s: got %q", name, reason)
		}
		if l.document(t, l.names.Requests, e.ID) != nil || l.document(t, l.names.KeyPackages, e.ID) != nil {
			t.Errorf("%s: it was stored", name)
		}
	}
}

func TestAddressableKeyPackageReplaces(t *testing.T) {
	t.Parallel()
	l := serve(t, func(c *Config) { c.WithoutEvent = true }) // makes no difference to this kind
	bob := l.join(t).login()
	now := nostr.Now()
	version := func(slot string, age nostr.Timestamp) *nostr.Event {
		e := bob.event(30443, "", nostr.Tag{"d", slot})
		e.CreatedAt = now - age
		bob.sign(e)
		return bob.mustPublish(e)
	}
	older, other := version("x", 20), version("y", 30)
	newer := version("x", 10)
	late := version("x", 15)
	got := bob.stored("s", nostr.Filter{Kinds: []int{30443}})
	if !slices.Equal(got, []string{newer.ID, other.ID}) {
		t.Errorf("got %v, want the newest of each slot", got)
	}
	for _, gone := range []*nostr.Event{older, late} {
		if l.document(t, l.names.KeyPackages, gone.ID) != nil {
			t.Errorf("version %s is stored", gone.ID)
		}
	}
	if l.document(t, l.names.KeyPackages, newer.ID)["event"] == nil {
		t.Error("the document has no event")
	}

	bob.mustPublish(bob.event(nostr.KindDeletion, "", nostr.Tag{"a", "30443:" + bob.pubkey + ":x"}))
	if l.document(t, l.names.KeyPackages, newer.ID) != nil || l.tombstone(t, newer) == nil {
		t.Error("the slot was not emptied")
	}
	if l.document(t, l.names.KeyPackages, other.ID) == nil {
		t.Error("the other slot was emptied")
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice := l.join(t).login(), l.join(t).login()
	alice.stored("s", everything)
	inStock, consumed, never := bob.mustPublish(bob.event(443, "1")), bob.mustPublish(bob.event(443, "2")), bob.event(443, "3")
	if _, err := l.documents.Collection(l.names.KeyPackages).Doc(consumed.ID).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	tags := nostr.Tags{{"e", inStock.ID}, {"e", consumed.ID}, {"e", never.ID}, {"e", "a/b"}, {"k", "443"}}
	alice.mustPublish(alice.event(nostr.KindDeletion, "", tags...))
	if l.document(t, l.names.KeyPackages, inStock.ID) == nil || l.tombstone(t, inStock) != nil {
		t.Fatal("a stranger deleted it")
	}
	l.pushOne(t, alice.pubkey, deliveryOf(inStock), relayapi.Delivered)

	bob.mustPublish(bob.event(nostr.KindDeletion, "", tags...))
	for _, e := range []*nostr.Event{inStock, consumed} {
		if l.document(t, l.names.KeyPackages, e.ID) != nil {
			t.Error("it is still stored")
		}
		if tombstone := l.tombstone(t, e); tombstone["event_id"] != e.ID || tombstone["owner_pubkey"] != bob.pubkey {
			t.Errorf("the tombstone is %v", tombstone)
		}
		l.pushOne(t, alice.pubkey, deliveryOf(e), relayapi.Rejected)
	}
	for _, e := range []*nostr.Event{inStock, consumed, never} {
		if reason := bob.publish(e); !strings.HasPrefix(reason, "blocked: ") {
			t.Errorf("it could be published again: %q", reason)
		}
	}
}

// TestDeletionOutlivesTheRelay has two relays on the same documents.
func TestDeletionOutlivesTheRelay(t *testing.T) {
	t.Parallel()
	first := serve(t, nil)
	second := serve(t, func(c *Config) { c.Firestore = first.documents })
	bob := first.join(t)
	one, two := bob.mustPublish(bob.event(443, "1")), bob.mustPublish(bob.event(443, "2"))
	bob.address = second.address
	bob.connect()
	bob.mustPublish(bob.event(nostr.KindDeletion, "", nostr.Tag{"e", one.ID}))
	if first.tombstone(t, one) == nil || first.document(t, first.names.KeyPackages, one.ID) != nil {
		t.Error("the second relay did not delete what the first has stored")
	}
	bob.address = first.address
	bob.connect()
	if reason := bob.publish(one); !strings.HasPrefix(reason, "blocked: ") {
		t.Errorf("got %q", reason)
	}
	bob.mustPublish(two)
}

// tombstone returns the document that says that the author deleted the event, or nil.
func (l *live) tombstone(t *testing.T, event *nostr.Event) map[string]any {
	return l.document(t, l.names.Tombstones, event.ID+"_"+event.PubKey)
}
