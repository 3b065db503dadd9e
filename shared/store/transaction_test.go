package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// These tests ask the database for what all transactions here rest on: a document that was read inside a transaction is
// at the commit what it was when it was read, even if that was missing. Whoever writes it meanwhile comes before the read
// or after the commit. The other side starts its write between the two.

func TestWhatIsReliedOnHoldsAtTheCommit(t *testing.T) {
	t.Parallel()
	content := map[string]any{"by": "another"}
	cases := map[string]struct {
		before    func(*transaction, *firestore.DocumentRef)
		exists    bool
		meanwhile func(*transaction, *firestore.DocumentRef)
	}{
		"missing, then created": {
			meanwhile: func(tx *transaction, ref *firestore.DocumentRef) { tx.create(ref, content) },
		},
		"there, then changed": {
			before: func(tx *transaction, ref *firestore.DocumentRef) { tx.create(ref, nothing) }, exists: true,
			meanwhile: func(tx *transaction, ref *firestore.DocumentRef) { tx.set(ref, content) },
		},
		"there, then deleted": {
			before: func(tx *transaction, ref *firestore.DocumentRef) { tx.create(ref, nothing) }, exists: true,
			meanwhile: func(tx *transaction, ref *firestore.DocumentRef) {
				tx.erase(ref)
			},
		},
	}
	for name, c := range cases {
		for round := range 5 {
			t.Run(fmt.Sprintf("%s/%d", name, round), func(t *testing.T) {
				t.Parallel()
				s := testStore(t)
				relied := s.tombstones.Doc("relied on")
				if c.before != nil {
					if _, err := s.write(t, relied, c.before); err != nil {
						t.Fatal(err)
					}
				}
				s.race(t, relied, c.exists, c.meanwhile)
			})
		}
	}
}

var nothing = map[string]any{}

// race commits a transaction that relies on a document, while another one writes it.
func (s *Store) race(
	t *testing.T, relied *firestore.DocumentRef, exists bool, meanwhile func(*transaction, *firestore.DocumentRef),
) {
	var at, otherAt time.Time
	var otherErr error
	var other sync.WaitGroup
	tx := s.begin()
	tx.create(s.claims.Doc("written"), nothing)
	tx.require(relied, func(snap *firestore.DocumentSnapshot) bool {
		other.Go(func() { otherAt, otherErr = s.write(t, relied, meanwhile) })
		_, _ = s.claims.Doc("a moment for the other").Get(t.Context())
		return snap.Exists() == exists
	})
	tx.versions = append(tx.versions, &at)
	err := tx.commit(t.Context(), "test")
	other.Wait()
	for _, err := range []error{err, otherErr} {
		if err != nil && !errors.Is(err, keypackage.ErrConflict) {
			t.Error(err)
		}
	}
	if err == nil && otherErr == nil && !otherAt.After(at) {
		t.Errorf("committed at %v, although what it relied on was changed at %v", at, otherAt)
	}
}

func (s *Store) write(
	t *testing.T, ref *firestore.DocumentRef, write func(*transaction, *firestore.DocumentRef),
) (at time.Time, err error) {
	tx := s.begin()
	tx.versions = append(tx.versions, &at)
	write(tx, ref)
	return at, tx.commit(t.Context(), "test")
}

// Two transactions that each write what the other relies on: they do not both succeed.
func TestCrossedTransactionsDoNotBothCommit(t *testing.T) {
	t.Parallel()
	type relies func(*transaction, *firestore.DocumentRef)
	read := func(tx *transaction, ref *firestore.DocumentRef) { tx.require(ref, missing) }
	unread := (*transaction).requireMissing
	for name, relyOn := range map[string][2]relies{
		"read": {read, read}, "unread": {unread, unread}, "a dismissal and a claim": {read, unread},
	} {
		s := testStore(t)
		a, b := s.claims.Doc("a"), s.claims.Doc("b")
		errs := make(chan error, 2)
		for i, docs := range [][2]*firestore.DocumentRef{{a, b}, {b, a}} {
			go func() {
				tx := s.begin()
				relyOn[i](tx, docs[0])
				tx.create(docs[1], map[string]any{"by": "us"})
				errs <- tx.commit(t.Context(), "test")
			}()
		}
		one, other := <-errs, <-errs
		if one == nil && other == nil {
			t.Errorf("%s: both were committed", name)
		}
		for _, err := range []error{one, other} {
			if err != nil && !errors.Is(err, keypackage.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func testStore(t *testing.T) *Store {
	t.Helper()
	settings := map[string]string{config.Project: emutest.Project(t)}
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(os.Getenv("FIRESTORE_EMULATOR_HOST"),
		append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	client, err := firestore.NewClient(t.Context(), cfg.Project, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return New(client, cfg.Collections, cfg.Policy)
}

func TestFieldsAreWhatCreatingWouldWrite(t *testing.T) {
	t.Parallel()
	entry := keypackage.Ledger{Owner: "bob", Use: keypackage.UseReserve, CheckAt: time.Unix(1, 0)}
	got := make(map[string]any)
	for _, update := range fields(entry, "owner_pubkey", "use", "delivery_id", "check_shard", "check_at", "first_use") {
		got[update.Path] = update.Value
	}
	want := map[string]any{
		"owner_pubkey": "bob", "use": keypackage.UseReserve, "delivery_id": "", "check_shard": firestore.Delete,
		"check_at": entry.CheckAt, "first_use": firestore.Delete,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if all := fields(&entry); len(all) != 9 || slices.ContainsFunc(all, func(u firestore.Update) bool { return u.Path == "-" }) {
		t.Errorf("all are %v", all)
	}
	defer func() {
		if recover() == nil {
			t.Error("a field that the entry has not was left out in silence")
		}
	}()
	fields(entry, "used")
}
