package publishing_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

const (
	relayURL = "wss://relay.example"
	maxStock = 5
)

// world is an empty database and a publisher in front of it.
type world struct {
	*fixture.DB
	publisher *publishing.Publisher
	t         *testing.T
	bob       actors.Key
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	db := fixture.New(t)
	settings := publishing.Settings{Policy: keypackage.PolicyStrict, MaxStock: maxStock}
	return &world{db, publishing.New(db.Store(), settings, time.Now), t, actors.NewKey()}
}

func event(e *nostr.Event) publishing.Event { return publishing.Event{Event: e, Raw: e.String()} }

// keyPackage signs a 443 of Bob's.
func (w *world) keyPackage(options mlsgen.Options) publishing.Event {
	w.t.Helper()
	e, err := actors.NewKeyPackage(w.bob, relayURL, nostr.Now(), options)
	if err != nil {
		w.t.Fatal(err)
	}
	return event(e)
}

// version signs a 30443 of Bob's in slot d.
func (w *world) version(d string, created nostr.Timestamp) publishing.Event {
	w.t.Helper()
	encoded, err := mlsgen.New(mlsgen.Options{Owner: w.bob.Pubkey})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signed(keypackage.KindAddressableKeyPackage, created, base64.StdEncoding.EncodeToString(encoded), nostr.Tag{"d", d})
}

func (w *world) deletion(tags ...nostr.Tag) publishing.Event {
	return w.signed(nostr.KindDeletion, nostr.Now(), "", tags...)
}

func (w *world) signed(kind int, created nostr.Timestamp, content string, tags ...nostr.Tag) publishing.Event {
	w.t.Helper()
	return signedBy(w.t, w.bob, kind, created, content, tags...)
}

func signedBy(t *testing.T, key actors.Key, kind int, created nostr.Timestamp, content string, tags ...nostr.Tag) publishing.Event {
	t.Helper()
	e := &nostr.Event{Kind: kind, CreatedAt: created, Content: content, Tags: tags}
	if err := key.Sign(e); err != nil {
		t.Fatal(err)
	}
	return event(e)
}

func (w *world) publish(e publishing.Event, shared bool) publishing.Answer {
	w.t.Helper()
	answer, err := w.publisher.KeyPackage(w.t.Context(), e, shared)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

func (w *world) delete(e publishing.Event) {
	w.t.Helper()
	if answer, err := w.publisher.Delete(w.t.Context(), e); err != nil || !answer.Accepted {
		w.t.Fatalf("deletion: %+v, %v", answer, err)
	}
}

// stock holds the ids of what is in stock.
func (w *world) stock() map[string]bool {
	ids := make(map[string]bool)
	for path := range w.In(w.Collections.KeyPackages) {
		ids[path[strings.LastIndex(path, "/")+1:]] = true
	}
	return ids
}

func (w *world) wantAnswer(what string, got publishing.Answer, accepted bool, reason string) {
	w.t.Helper()
	if got.Accepted != accepted || got.Reason != reason {
		w.t.Errorf("%s: %+v, want %t %q", what, got, accepted, reason)
	}
}

func TestWhatNoClaimWouldHandOutIsRefused(t *testing.T) {
	w := newWorld(t)
	good := w.keyPackage(mlsgen.Options{})
	tampered := good
	tampered.Raw = strings.Replace(good.Raw, `"content":"`, `"content":"A`, 1)
	large := w.signed(keypackage.KindKeyPackage, nostr.Now(), strings.Repeat("A", keypackage.MaxPackageBytes))
	foreign := signedBy(t, actors.NewKey(), keypackage.KindKeyPackage, nostr.Now(), good.Content)
	for reason, e := range map[string]publishing.Event{
		string(mls.ErrLifetimeLength): w.keyPackage(mlsgen.Options{NotAfter: time.Now().Add(365 * 24 * time.Hour)}),
		keypackage.UnusableExpired:    w.keyPackage(mlsgen.Options{NotAfter: time.Now().Add(-time.Minute)}),
		keypackage.FlawUnparsable:     w.signed(keypackage.KindKeyPackage, nostr.Now(), "hello"),
		keypackage.FlawEvent:          tampered,
		keypackage.FlawTooLarge:       large,
		string(mls.ErrIdentity):       foreign,
	} {
		w.wantAnswer(reason, w.publish(e, false), false, "invalid: "+reason)
	}
	if stock := w.stock(); len(stock) != 0 {
		t.Errorf("%d are in stock all the same", len(stock))
	}
}

func TestAKeyPackageIsStoredOnce(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	w.wantAnswer("first", w.publish(e, false), true, "")
	w.wantAnswer("second", w.publish(e, false), true, "duplicate: already have this KeyPackage")
	own, err := w.publisher.Own(t.Context(), w.bob.Pubkey)
	if err != nil || len(own) != 1 || own[0].Raw != e.Raw {
		t.Errorf("Bob's own stock: %v, %v", own, err)
	}
}

// The ledger knows the bytes, whatever event they come in.
func TestWhatWasHandedOutDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	inspected := keypackage.Inspect(e.ID, keypackage.Document{
		keypackage.FieldOwner: e.PubKey, keypackage.FieldEvent: e.Raw, keypackage.FieldCreatedAt: int64(e.CreatedAt),
	}, keypackage.PolicyStrict)
	w.Put(fixture.Documents{
		w.Collections.Ledger + "/" + inspected.Hash: keypackage.NewLedger(&inspected, keypackage.UseOneTime, "d", time.Now()),
	})
	again := w.signed(keypackage.KindKeyPackage, nostr.Now()+1, e.Content, e.Tags...)
	w.wantAnswer("again", w.publish(again, false), true, "duplicate: this KeyPackage has been handed out")
	if len(w.stock()) != 0 {
		t.Error("it is in stock")
	}
}

func TestStockIsBounded(t *testing.T) {
	w := newWorld(t)
	for range maxStock {
		w.wantAnswer("within", w.publish(w.keyPackage(mlsgen.Options{}), false), true, "")
	}
	w.wantAnswer("beyond", w.publish(w.keyPackage(mlsgen.Options{}), false), false, "blocked: too many KeyPackages in stock")
}

func TestSharedCountsAsReserve(t *testing.T) {
	w := newWorld(t)
	w.wantAnswer("shared", w.publish(w.keyPackage(mlsgen.Options{}), true), true, "")
	for path, entry := range w.In(w.Collections.Ledger) {
		if entry.Fields["use"] != string(keypackage.UseReserve) {
			t.Errorf("%s: %v", path, entry.Fields["use"])
		}
		return
	}
	t.Error("the ledger has no entry")
}

// Somebody else may have read what is in stock already: at another relay, or while the mode was off.
func TestWhatIsInStockBecomesShared(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	w.wantAnswer("published", w.publish(e, false), true, "")
	if ledger := w.In(w.Collections.Ledger); len(ledger) != 0 {
		t.Fatalf("the ledger has %v", ledger)
	}
	for range 2 {
		w.wantAnswer("seen", w.publish(e, true), true, "duplicate: already have this KeyPackage")
		for hash, entry := range w.In(w.Collections.Ledger) {
			if entry.Fields["use"] != string(keypackage.UseReserve) {
				t.Errorf("%s: %v", hash, entry.Fields["use"])
			}
		}
		if n := len(w.In(w.Collections.Ledger)); n != 1 {
			t.Errorf("the ledger has %d entries", n)
		}
	}
}

// Deletion and publication meet over two connections or instances: whichever is first, nothing is in stock in the end.
func TestADeletionMeetsItsPublication(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		e := w.keyPackage(mlsgen.Options{})
		gone := w.deletion(nostr.Tag{"e", e.ID})
		var both sync.WaitGroup
		both.Go(func() { w.publish(e, false) })
		both.Go(func() { w.delete(gone) })
		both.Wait()
		if w.stock()[e.ID] {
			t.Fatal("what Bob has deleted is in stock")
		}
		if _, ok := w.In(w.Collections.Tombstones)[e.ID+"_"+w.bob.Pubkey]; !ok {
			t.Fatal("there is no tombstone")
		}
		w.wantAnswer("later", w.publish(e, false), false, "blocked: its author has deleted this event")
	}
}

func TestNobodyBuriesAnothersKeyPackage(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	mallory := signedBy(t, actors.NewKey(), nostr.KindDeletion, nostr.Now(), "", nostr.Tag{"e", e.ID})
	w.delete(mallory)
	w.wantAnswer("after Mallory's deletion", w.publish(e, false), true, "")
	w.delete(mallory)
	if !w.stock()[e.ID] {
		t.Error("Mallory has deleted Bob's KeyPackage")
	}
}

func TestADeletionOfOtherKindsLeavesNoTombstone(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	w.delete(w.deletion(nostr.Tag{"e", e.ID}, nostr.Tag{"k", "1"}))
	w.wantAnswer("not in stock, other kinds", w.publish(e, false), true, "")
	w.delete(w.deletion(nostr.Tag{"e", e.ID}, nostr.Tag{"k", "1"}))
	if w.stock()[e.ID] {
		t.Error("in stock: the id counts, whatever the kinds say")
	}
}

func TestADeletionIsBounded(t *testing.T) {
	w := newWorld(t)
	tags := make([]nostr.Tag, 1500)
	for i := range tags {
		tags[i] = nostr.Tag{"e", fmt.Sprintf("%064x", i)}
	}
	w.delete(w.deletion(tags...))
	if n := len(w.In(w.Collections.Tombstones)); n != publishing.MaxDeletionTags {
		t.Errorf("%d tombstones", n)
	}
}

func TestASlotHoldsItsNewestVersion(t *testing.T) {
	w := newWorld(t)
	now := nostr.Now()
	old, current, other := w.version("a", now-10), w.version("a", now), w.version("b", now-20)
	w.wantAnswer("old", w.publish(old, false), true, "")
	w.wantAnswer("other slot", w.publish(other, false), true, "")
	w.wantAnswer("current", w.publish(current, false), true, "")
	w.wantAnswer("old again", w.publish(old, false), true, "duplicate: have a newer version")
	if stock := w.stock(); len(stock) != 2 || !stock[current.ID] || !stock[other.ID] {
		t.Errorf("in stock: %v", stock)
	}
	w.delete(w.deletion(nostr.Tag{"a", fmt.Sprintf("30443:%s:a", w.bob.Pubkey)}))
	if stock := w.stock(); len(stock) != 1 || !stock[other.ID] {
		t.Errorf("in stock after the slot was deleted: %v", stock)
	}
	w.wantAnswer("an older version", w.publish(old, false), false, "blocked: its author has deleted this event")
	w.wantAnswer("a later version", w.publish(w.version("a", now+60), false), true, "")
	found, err := w.publisher.Addressable(t.Context(), []string{w.bob.Pubkey, actors.NewKey().Pubkey})
	if err != nil || len(found) != 2 {
		t.Errorf("served to everybody: %d, %v", len(found), err)
	}
}

func TestARequestIsStoredOnce(t *testing.T) {
	w := newWorld(t)
	e := w.signed(keypackage.KindRequest, nostr.Now(), "", nostr.Tag{"p", actors.NewKey().Pubkey})
	for i, reason := range []string{"", "duplicate: already have this request"} {
		answer, err := w.publisher.Request(t.Context(), e, time.Now(), i == 0)
		if err != nil {
			t.Fatal(err)
		}
		w.wantAnswer("request", answer, true, reason)
	}
	for _, doc := range w.In(w.Collections.Requests) {
		if open, ok := doc.Fields[keypackage.FieldOpen].(int64); !ok || open < 0 || open >= keypackage.Shards {
			t.Errorf("open: %v", doc.Fields[keypackage.FieldOpen])
		}
		if doc.Fields[keypackage.FieldGateway] != true {
			t.Errorf("gateway: %v", doc.Fields[keypackage.FieldGateway])
		}
	}
}
