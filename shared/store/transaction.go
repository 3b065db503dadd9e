package store

import (
	"context"
	"errors"
	"fmt"
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
}

// requirement is a document that is read inside the transaction, and what must be true of it.
type requirement struct {
	ref   *firestore.DocumentRef
	holds func(*firestore.DocumentSnapshot) bool
}

func (s *Store) begin() *transaction { return &transaction{store: s} }

func (t *transaction) require(ref *firestore.DocumentRef, holds func(*firestore.DocumentSnapshot) bool) {
	t.required = append(t.required, requirement{ref, holds})
}

// requireMissing is require for a document that is not there, without the price of a read: see begin.go. Others who require
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

// createOrUpdate creates a document that did not exist when it was read (version zero), or updates it.
func (t *transaction) createOrUpdate(ref *firestore.DocumentRef, version time.Time, data any, updates []firestore.Update) {
	if version.IsZero() {
		t.create(ref, data)
		return
	}
	t.update(ref, version, updates)
}

// commit runs the transaction once and returns when it was: the update time of all that it has changed. A lost race is
// keypackage.ErrConflict, and nothing is written; after any other error it may have been written all the same. It is not repeated
// here: whoever decided must decide anew. A race may also be lost against itself, when the client library has repeated a commit
// because the answer was lost; whoever reads again finds it written.
func (t *transaction) commit(ctx context.Context, doing string) (time.Time, error) {
	var ready bool
	var response firestore.CommitResponse
	begun := new(late)
	err := t.store.client.RunTransaction(begun.context(ctx), func(_ context.Context, tx *firestore.Transaction) error {
		if !begun.relyOn(t.absent) {
			for _, ref := range t.absent {
				t.require(ref, missing)
			}
		}
		err := t.prepare(tx)
		ready = err == nil
		return err
	}, firestore.MaxAttempts(1), firestore.WithCommitResponseTo(&response))
	switch {
	case err == nil:
		return response.CommitTime(), nil
	case errors.Is(err, keypackage.ErrConflict):
		return time.Time{}, fmt.Errorf("%s: %w", doing, err)
	case ready:
		return time.Time{}, notCommitted(doing, err)
	}
	return time.Time{}, failed(doing, err)
}

// run is commit for those to whom it does not matter when it was.
func (t *transaction) run(ctx context.Context, doing string) error {
	_, err := t.commit(ctx, doing)
	return err
}

// prepare does everything but the commit. Its error is keypackage.ErrConflict if a requirement does not hold.
func (t *transaction) prepare(tx *firestore.Transaction) error {
	if len(t.required) > 0 {
		if err := t.check(tx); err != nil {
			return err
		}
	}
	for _, write := range t.writes {
		if err := write(tx); err != nil {
			return err
		}
	}
	return nil
}

// check reads what the transaction requires. A read that waits for another's lock may be aborted, which is a race lost
// before the commit; as ErrConflict it is also not taken for an order to sleep and try again.
func (t *transaction) check(tx *firestore.Transaction) error {
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

func missing(snap *firestore.DocumentSnapshot) bool { return !snap.Exists() }

func exists(snap *firestore.DocumentSnapshot) bool { return snap.Exists() }

// unchanged holds as long as the document has that update time; the zero time stands for no document.
func unchanged(version time.Time) func(*firestore.DocumentSnapshot) bool {
	return func(snap *firestore.DocumentSnapshot) bool {
		return snap.Exists() == !version.IsZero() && (!snap.Exists() || snap.UpdateTime.Equal(version))
	}
}

// used holds as long as the ledger says so about a package.
func used(use keypackage.Use) func(*firestore.DocumentSnapshot) bool {
	return func(snap *firestore.DocumentSnapshot) bool { return ledgerUse(snap) == use }
}

// ledgerUse is how the bytes of a package were handed out. An entry that does not say may be that of a one-time package.
func ledgerUse(snap *firestore.DocumentSnapshot) keypackage.Use {
	if !snap.Exists() {
		return keypackage.UseNone
	}
	if use, _ := snap.Data()["use"].(string); use == string(keypackage.UseReserve) {
		return keypackage.UseReserve
	}
	return keypackage.UseOneTime
}
