package store_test

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// The contracts that the store keeps. Every sentence of their comments is a case in contract_*_test.go.
var (
	_ claiming.Store   = (*store.Store)(nil)
	_ delivering.Store = (*store.Store)(nil)
	_ expiring.Store   = (*store.Store)(nil)
	_ publishing.Store = (*store.Store)(nil)
)

// world is a database of a test's own, and a store on it.
type world struct {
	*fixture.DB
	t     *testing.T
	store *store.Store
	now   time.Time // to the microsecond, as Firestore keeps it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := fixture.New(t)
	w := &world{DB: db, t: t, store: db.Store(), now: time.Now().UTC().Truncate(time.Microsecond)}
	t.Cleanup(func() { w.checkIndexes() })
	return w
}

// touch changes a document that exists, in a field that means nothing.
func (w *world) touch(path string) {
	w.t.Helper()
	update := []firestore.Update{{Path: "touched", Value: firestore.Increment(1)}}
	if _, err := w.Client.Doc(path).Update(w.t.Context(), update); err != nil {
		w.t.Fatal(err)
	}
}

// parse returns the request that a document holds.
func parse(t *testing.T, doc keypackage.RequestDocument) *keypackage.Request {
	t.Helper()
	req, err := keypackage.ParseRequest(doc, 10)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Paths of documents.

func (w *world) stockPath(p keypackage.Document) string {
	return w.Collections.KeyPackages + "/" + fixture.ID(p)
}

func (w *world) tombstonePath(packageID, owner string) string {
	return w.Collections.Tombstones + "/" + packageID + "_" + owner
}

func (w *world) ledgerPath(p keypackage.Document) string {
	return w.Collections.Ledger + "/" + hashOf(p)
}

func (w *world) claimPath(requestID, owner string) string {
	return w.Collections.Claims + "/" + keypackage.ClaimID(requestID, owner)
}

func (w *world) pairPath(requester, owner string) string {
	return w.Collections.Pairs + "/" + requester + "_" + owner
}

func (w *world) ownerPath(owner string) string { return w.Collections.Owners + "/" + owner }

func (w *world) deliveryPath(id string) string { return w.Collections.Deliveries + "/" + id }

func hashOf(p keypackage.Document) string {
	return mls.ContentHash(p.Text(keypackage.FieldOwner), p.Text(keypackage.FieldContent))
}

// Checks.

// writesNothing runs do, which has to lose a race and leave every document as it is.
func (w *world) writesNothing(do func() error) {
	w.t.Helper()
	before := w.All()
	if err := do(); !errors.Is(err, keypackage.ErrConflict) {
		w.t.Errorf("the error is %v, not a conflict", err)
	}
	after := w.All()
	for path, stored := range after {
		if !reflect.DeepEqual(before[path], stored) {
			w.t.Errorf("%s was written", path)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			w.t.Errorf("%s was deleted", path)
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// must returns the value of a call that has to succeed.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// all returns what there is to go through, which must be readable.
func all[T any](t *testing.T, found iter.Seq2[T, error]) []T {
	t.Helper()
	some, unreadable := readable(t, found)
	if unreadable > 0 {
		t.Errorf("%d documents cannot be read", unreadable)
	}
	return some
}

// readable returns what can be read of it, and how much cannot.
func readable[T any](t *testing.T, found iter.Seq2[T, error]) (some []T, unreadable int) {
	t.Helper()
	for one, err := range found {
		switch {
		case err == nil:
			some = append(some, one)
		case errors.Is(err, keypackage.ErrUnreadable):
			unreadable++
		default:
			t.Fatal(err)
		}
	}
	return some, unreadable
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %.1000s\nwant %.1000s", what, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}
