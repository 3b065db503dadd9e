package publishing_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// What is said when it is published is what a claim says of the document that Firestore returns, to the byte.
func TestWhatIsTakenIsHandedOut(t *testing.T) {
	w := newWorld(t)
	content := w.keyPackage(mlsgen.Options{}).Content
	for name, tag := range map[string]nostr.Tag{
		"many relays":     append(nostr.Tag{"relays"}, slices.Repeat([]string{"wss://relay.example"}, 1000)...),
		"empty relays":    append(nostr.Tag{"relays"}, slices.Repeat([]string{""}, 9000)...),
		"extensions":      append(nostr.Tag{"mls_extensions"}, slices.Repeat([]string{"0x000a"}, 3000)...),
		"a long relay":    {"relays", strings.Repeat("r", 31<<10)},
		"a huge d":        {"d", strings.Repeat("d", 50<<10)},
		"no suite at all": {"mls_ciphersuite", strings.Repeat("0", 25<<10)},
	} {
		e := w.signed(keypackage.KindKeyPackage, nostr.Now(), content, tag)
		answer := w.publish(e, false)
		snap, err := w.Client.Collection(w.Collections.KeyPackages).Doc(e.ID).Get(t.Context())
		if stored := err == nil; stored != answer.Accepted {
			t.Errorf("%s: stored %t, answered %+v", name, stored, answer)
		} else if stored {
			if p := keypackage.Inspect(e.ID, snap.Data(), keypackage.PolicyStrict); p.Flaw != "" {
				t.Errorf("%s: taken, but no claim hands it out: %s", name, p.Flaw)
			}
		}
	}
}

// A REQ names up to 32 authors.
func TestAddressableOnesOfManyOwners(t *testing.T) {
	w := newWorld(t)
	e := w.version("a", nostr.Now())
	w.wantAnswer("published", w.publish(e, false), true, "")
	owners := []string{w.bob.Pubkey}
	for range keypackage.MaxOwners - 1 {
		owners = append(owners, actors.NewKey().Pubkey)
	}
	slices.Reverse(owners)
	found, err := w.publisher.Addressable(t.Context(), owners)
	if err != nil || len(found) != 1 || found[0].ID != e.ID {
		t.Errorf("found %d, %v", len(found), err)
	}
}

// A d may be anything, and every spelling of it is another slot.
func TestSlotsOfAnyName(t *testing.T) {
	w := newWorld(t)
	for i, d := range []string{"", ":", "a:b", "a/b", "__x__", strings.Repeat("d", 20<<10)} {
		now := nostr.Now()
		old, current := w.version(d, now-10), w.version(d, now)
		w.wantAnswer("old", w.publish(old, false), true, "")
		w.wantAnswer("current", w.publish(current, false), true, "")
		if stock := w.stock(); len(stock) != 1 || !stock[current.ID] {
			t.Errorf("%d: in stock: %v", i, stock)
		}
		w.delete(w.deletion(nostr.Tag{"a", "30443:" + w.bob.Pubkey + ":" + d}, nostr.Tag{"k", "30443"}))
		if stock := w.stock(); len(stock) != 0 {
			t.Errorf("%d: in stock after the deletion: %v", i, stock)
		}
	}
}

// Two instances take in versions of one slot at the same moment. What is left beside the newest goes with the next.
func TestVersionsOfOneSlotAtTwoInstances(t *testing.T) {
	w := newWorld(t)
	now := nostr.Now()
	var all sync.WaitGroup
	for i := range 6 {
		e := w.version("a", now-nostr.Timestamp(i))
		publisher := w.another()
		all.Go(func() {
			if answer, err := publisher.KeyPackage(t.Context(), e, false); err != nil || !answer.Accepted {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
	all.Wait()
	next := w.version("a", now+1)
	w.wantAnswer("next", w.publish(next, false), true, "")
	if stock := w.stock(); len(stock) != 1 || !stock[next.ID] {
		t.Errorf("in stock: %v", stock)
	}
}

func (w *world) another() *publishing.Publisher {
	settings := publishing.Settings{Policy: keypackage.PolicyStrict, MaxStock: maxStock}
	return publishing.New(w.DB.Store(), settings, time.Now)
}

// Retirement takes a package out of the stock that was handed out as a reserve, and looks for it no more. Its owner may
// publish it again, and then it must be retired again.
func TestRetiredBytesAreWatchedAgain(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	w.wantAnswer("seen", w.publish(e, true), true, "")
	ledger := w.In(w.Collections.Ledger)
	hash := slices.Collect(maps.Keys(ledger))[0]
	delete(ledger[hash].Fields, "check_shard")
	w.Put(fixture.Documents{w.Collections.Ledger + "/" + hash: ledger[hash].Fields})
	if _, err := w.Client.Collection(w.Collections.KeyPackages).Doc(e.ID).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantAnswer("again", w.publish(e, false), true, "")
	fields := w.In(w.Collections.Ledger)[hash].Fields
	if shard, ok := fields["check_shard"].(int64); !ok || shard < 1 {
		t.Errorf("nobody will retire it: %v", fields)
	}
	if use := fields["use"]; use != string(keypackage.UseReserve) {
		t.Errorf("use: %v", use)
	}
}

func TestTagsThatSayNothing(t *testing.T) {
	w := newWorld(t)
	e := w.keyPackage(mlsgen.Options{})
	w.wantAnswer("published", w.publish(e, false), true, "")
	w.delete(w.deletion(nostr.Tag{}, nostr.Tag{"e"}, nostr.Tag{"a"}, nostr.Tag{"k"}, nostr.Tag{"e", strings.ToUpper(e.ID)},
		nostr.Tag{"a", ""}, nostr.Tag{"a", "30443"}, nostr.Tag{"a", "30443:" + w.bob.Pubkey}, nostr.Tag{"a", fmt.Sprintf("443:%s:", w.bob.Pubkey)}))
	if !w.stock()[e.ID] || len(w.In(w.Collections.Tombstones)) != 0 {
		t.Errorf("in stock: %v, tombstones: %v", w.stock(), w.In(w.Collections.Tombstones))
	}
}

// Publications that are under way at the same moment do not see each other in the count: the stock exceeds its bound by as
// many as those, and no more is taken until it is below.
func TestStockIsBoundedAtTwoInstances(t *testing.T) {
	w := newWorld(t)
	const atOnce = 4
	for range 3 {
		var all sync.WaitGroup
		for range atOnce {
			e, publisher := w.keyPackage(mlsgen.Options{}), w.another()
			all.Go(func() {
				if _, err := publisher.KeyPackage(t.Context(), e, false); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if n := len(w.stock()); n < maxStock || n >= maxStock+atOnce {
		t.Errorf("%d in stock", n)
	}
	w.wantAnswer("beyond", w.publish(w.keyPackage(mlsgen.Options{}), false), false, "blocked: too many KeyPackages in stock")
}

// losing is a store in which somebody else is always first.
type losing struct {
	publishing.Store
	asked int
}

func (l *losing) Deletable(context.Context, string, []string, []string) (publishing.Deletable, error) {
	l.asked++
	return publishing.Deletable{}, nil
}

func (l *losing) Delete(context.Context, string, publishing.Deletion) error {
	return keypackage.ErrConflict
}

// Who loses again and again waits before each attempt, gives up after a few, and at once if nobody waits for the answer.
func TestLostRacesAreNotRunAtFullSpeed(t *testing.T) {
	deletion := publishing.Event{Event: &nostr.Event{Tags: nostr.Tags{{"e", strings.Repeat("0", 64)}}}}
	synctest.Test(t, func(t *testing.T) {
		db, began := &losing{}, time.Now()
		publisher := publishing.New(db, publishing.Settings{}, time.Now)
		if _, err := publisher.Delete(t.Context(), deletion); !fault.IsRetryable(err) || fault.Reason(err) != "delete_failed" {
			t.Error(err)
		}
		if waited := time.Since(began); db.asked != 5 || waited == 0 || waited > time.Second {
			t.Errorf("%d attempts in %v", db.asked, waited)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := publisher.Delete(ctx, deletion); err == nil || db.asked != 6 {
			t.Errorf("%d attempts of a caller that has gone, %v", db.asked-5, err)
		}
	})
}
