package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// transaction collects what a transaction relies on and what it writes, and then runs as a whole.
type transaction struct {
	store    *Store
	required []requirement
	absent   []*firestore.DocumentRef
	writes   []func(*firestore.Transaction) error
	versions []*time.Time // that become the commit's time: one transaction, one update time for all its documents
}

// requirement is a document that is read inside the transaction, and what must be true of it.
type requirement struct {
	ref   *firestore.DocumentRef
	holds func(*snapshot) bool
}

func (s *Store) begin() *transaction { return &transaction{store: s} }

func (t *transaction) require(ref *firestore.DocumentRef, holds func(*snapshot) bool) {
	t.required = append(t.required, requirement{ref, holds})
}

// requireMissing is require for a document that is not there, without the price of a read: see connect.go. Others who require
// the same at the same moment lose the race; where that happens often, require does better.
func (t *transaction) requireMissing(ref *firestore.DocumentRef) { t.absent = append(t.absent, ref) }

func (t *transaction) write(one func(*firestore.Transaction) error) { t.writes = append(t.writes, one) }

func (t *transaction) create(ref *firestore.DocumentRef, data any) {
	t.write(func(tx *firestore.Transaction) error { return tx.Create(ref, data) })
}

func (t *transaction) set(ref *firestore.DocumentRef, data any) {
	t.write(func(tx *firestore.Transaction) error { return tx.Set(ref, data) })
}

func (t *transaction) update(ref *firestore.DocumentRef, version time.Time, updates []firestore.Update) {
	t.write(func(tx *firestore.Transaction) error {
		return tx.Update(ref, updates, firestore.LastUpdateTime(version))
	})
}

func (t *transaction) remove(ref *firestore.DocumentRef, version time.Time) {
	t.write(func(tx *firestore.Transaction) error { return tx.Delete(ref, firestore.LastUpdateTime(version)) })
}

// erase removes a document whatever it has become.
func (t *transaction) erase(ref *firestore.DocumentRef) {
	t.write(func(tx *firestore.Transaction) error { return tx.Delete(ref) })
}

// createOrUpdate creates a document that did not exist when it was read (version zero), or updates its fields.
func (t *transaction) createOrUpdate(ref *firestore.DocumentRef, version time.Time, document any, names ...string) {
	if version.IsZero() {
		t.create(ref, document)
	} else {
		t.update(ref, version, fields(document, names...))
	}
}

// fields are updates of named fields of one of our documents, or of all, to what creating it would write; what is left out is removed.
func fields(document any, names ...string) (updates []firestore.Update) {
	for field, value := range reflect.Indirect(reflect.ValueOf(document)).Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("firestore"), ",")
		at, isTime := value.Interface().(time.Time)
		switch {
		case name == "-" || len(names) > 0 && !slices.Contains(names, name):
		case option == "omitempty" && (value.IsZero() || isTime && at.IsZero()):
			updates = append(updates, firestore.Update{Path: name, Value: firestore.Delete})
		default:
			updates = append(updates, firestore.Update{Path: name, Value: value.Interface()})
		}
	}
	if len(names) > 0 && len(updates) != len(names) {
		panic(fmt.Sprintf("%T has not all of the fields %v", document, names))
	}
	return updates
}

// commit runs the transaction once. A lost race is keypackage.ErrConflict, and nothing is written; after any other error it may have
// been written all the same. Whoever decided must decide anew. A race may also be lost against itself, when the client library has
// repeated a commit because the answer was lost; whoever reads again finds it written.
func (t *transaction) commit(ctx context.Context, doing string) error {
	var ready bool
	var response firestore.CommitResponse
	begun := new(late)
	err := t.store.client.RunTransaction(context.WithValue(ctx, lateKey{}, begun), func(_ context.Context, tx *firestore.Transaction) error {
		if !begun.relyOn(t.absent) {
			for _, ref := range t.absent {
				t.require(ref, missing)
			}
		}
		err := t.check(tx)
		for _, write := range t.writes {
			if err == nil {
				err = write(tx)
			}
		}
		ready = err == nil
		return err
	}, firestore.MaxAttempts(1), firestore.WithCommitResponseTo(&response))
	switch {
	case errors.Is(err, keypackage.ErrConflict):
		return fmt.Errorf("%s: %w", doing, err)
	case err != nil && ready:
		return notCommitted(doing, err)
	case err != nil:
		return failed(doing, err)
	}
	for _, version := range t.versions {
		*version = response.CommitTime()
	}
	return nil
}

// check reads what the transaction requires. A read that waits for another's lock may be aborted, which is a race lost before the
// commit; as ErrConflict it is also not taken for an order to sleep and try again.
func (t *transaction) check(tx *firestore.Transaction) error {
	if len(t.required) == 0 {
		return nil
	}
	refs := make([]*firestore.DocumentRef, len(t.required))
	for i, r := range t.required {
		refs[i] = r.ref
	}
	snaps, err := tx.GetAll(refs)
	if status.Code(err) == codes.Aborted {
		return keypackage.ErrConflict
	}
	if err != nil {
		return err
	}
	for i, r := range t.required {
		if !r.holds(snaps[i]) {
			return keypackage.ErrConflict
		}
	}
	return nil
}

// What may be relied on.

func missing(snap *snapshot) bool { return !snap.Exists() }

func exists(snap *snapshot) bool { return snap.Exists() }

// unchanged holds as long as the document has that update time; the zero time stands for no document.
func unchanged(since time.Time) func(*snapshot) bool {
	return func(snap *snapshot) bool { return version(snap).Equal(since) }
}

// version returns the update time of a document, or the zero time if there is none.
func version(snap *snapshot) time.Time {
	if !snap.Exists() {
		return time.Time{}
	}
	return snap.UpdateTime
}

// used holds as long as the ledger says so about a package.
func used(use keypackage.Use) func(*snapshot) bool {
	return func(snap *snapshot) bool { return ledgerUse(snap) == use }
}

// ledgerUse is how the bytes of a package were handed out. An entry that does not say may be that of a one-time package.
func ledgerUse(snap *snapshot) keypackage.Use {
	if !snap.Exists() {
		return keypackage.UseNone
	}
	if use, _ := snap.Data()["use"].(string); use == string(keypackage.UseReserve) {
		return keypackage.UseReserve
	}
	return keypackage.UseOneTime
}
