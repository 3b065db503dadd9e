package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// tombstonesAtOnce is how many deliveries wait until the tombstones of their packages are read in one call.
const tombstonesAtOnce = 25

// Due implements expiring.Store.
func (s *Store) Due(ctx context.Context, before time.Time, tombstones bool) iter.Seq2[keypackage.StoredDelivery, error] {
	return func(yield func(keypackage.StoredDelivery, error) bool) {
		var batch []keypackage.StoredDelivery
		pass := func() bool {
			if err := s.readTombstones(ctx, batch, tombstones); err != nil {
				yield(keypackage.StoredDelivery{}, err)
				return false
			}
			for _, one := range batch {
				if !yield(one, nil) {
					return false
				}
			}
			batch = nil
			return true
		}
		for one, err := range s.open(ctx, s.deliveries.Where("expires_at", "<=", before)) {
			if err != nil {
				if !yield(keypackage.StoredDelivery{}, err) {
					return
				}
			} else if batch = append(batch, keypackage.StoredDelivery{Delivery: one}); len(batch) == tombstonesAtOnce && !pass() {
				return
			}
		}
		pass()
	}
}

// readTombstones notes whether the packages of deliveries were deleted, if that is wanted.
func (s *Store) readTombstones(ctx context.Context, deliveries []keypackage.StoredDelivery, wanted bool) error {
	if !wanted {
		return nil
	}
	refs := make([]*firestore.DocumentRef, len(deliveries))
	for i, d := range deliveries {
		refs[i] = s.tombstone(d.PackageID, d.Owner)
	}
	snaps, err := s.get(ctx, refs...)
	for i, snap := range snaps {
		deliveries[i].Tombstoned = snap.Exists()
	}
	return err
}

// Waiting implements expiring.Store.
func (s *Store) Waiting(ctx context.Context, now time.Time) iter.Seq2[keypackage.Delivery, error] {
	return s.open(ctx, s.deliveries.Where("expires_at", ">", now))
}

// open goes through those of the deliveries that have a shard: a delivery has one as long as it is open.
func (s *Store) open(ctx context.Context, query firestore.Query) iter.Seq2[keypackage.Delivery, error] {
	return find(ctx, "read open deliveries by their end", readDelivery, inShards(query, "due_shard", 1, "expires_at")...)
}

// Expire implements expiring.Store.
func (s *Store) Expire(ctx context.Context, deliveries []*keypackage.Delivery) error {
	var returned []*keypackage.Delivery
	var hashes []string
	t := s.begin()
	for _, d := range deliveries {
		t.update(s.deliveries.Doc(d.ID), d.Version, progress(d))
		if d.Reason == keypackage.ExpiredReturned {
			returned, hashes = append(returned, d), append(hashes, d.Hash)
		}
	}
	entries, err := s.get(ctx, docs(s.ledger, hashes)...)
	if err != nil {
		return err
	}
	for i, d := range returned {
		s.returnToStock(t, d, entries[i])
	}
	return t.commit(ctx, "expire deliveries")
}

// returnToStock puts the package back in its old place. Set, not Create: the relay may have stored a re-broadcast of the
// same event meanwhile. The ledger entry goes with it, but only the one that this delivery made.
func (s *Store) returnToStock(t *transaction, d *keypackage.Delivery, entry *snapshot) {
	t.require(s.tombstone(d.PackageID, d.Owner), missing)
	t.set(s.keyPackages.Doc(d.PackageID), d.Package)
	if by, _ := entry.Data()["delivery_id"].(string); by == d.ID && ledgerUse(entry) == keypackage.UseOneTime {
		t.remove(entry.Ref, entry.UpdateTime)
	}
}

// Marked implements expiring.Store. Whatever stands in a document of the relay can be read as a request, if only as one that is rejected.
func (s *Store) Marked(ctx context.Context, before time.Time) iter.Seq2[keypackage.RequestDocument, error] {
	received := s.requests.Where(keypackage.FieldReceivedAt, "<=", before)
	return find(ctx, "read requests without an outcome", func(snap *snapshot) (keypackage.RequestDocument, error) {
		doc := keypackage.ReadRequestDocument(snap.Ref.ID, snap.Data(), snap.CreateTime)
		doc.Version = snap.UpdateTime
		return doc, nil
	}, inShards(received, keypackage.FieldOpen, 0, keypackage.FieldReceivedAt)...)
}

// Unmark implements expiring.Store.
func (s *Store) Unmark(ctx context.Context, doc keypackage.RequestDocument, claimIDs []string) error {
	t := s.begin()
	for _, id := range claimIDs {
		t.require(s.claims.Doc(id), missing)
	}
	t.update(s.requests.Doc(doc.ID), doc.Version, unmarked(doc.KeepUntil()))
	return t.commit(ctx, "remove the mark of a request")
}

// unmarked is what is written when a request needs to be found no more.
func unmarked(keepUntil time.Time) []firestore.Update {
	return []firestore.Update{{Path: keypackage.FieldOpen, Value: firestore.Delete}, {Path: keypackage.FieldKeepUntil, Value: keepUntil}}
}

// PendingOwners implements expiring.Store.
func (s *Store) PendingOwners(ctx context.Context) iter.Seq2[keypackage.Owner, error] {
	return find(ctx, "read owners with notices", readOwner, s.owners.Where("pending", "==", true))
}

// readOwner reads what is known of an owner: without a document only the key.
func readOwner(snap *snapshot) (owner keypackage.Owner, err error) {
	err = decode(snap, &owner)
	owner.Pubkey, owner.Version = snap.Ref.ID, version(snap)
	return owner, err
}

// SaveSupplies implements expiring.Store.
func (s *Store) SaveSupplies(ctx context.Context, owner keypackage.Owner) error {
	owner.Pending = len(owner.DueNotices()) > 0
	t := s.begin()
	t.update(s.owners.Doc(owner.Pubkey), owner.Version, fields(owner, "supplies", "pending"))
	return t.commit(ctx, "save the supplies of an owner")
}

// Supplies returns what is recorded about an owner's stock, by keypackage.SuiteKey.
func (s *Store) Supplies(ctx context.Context, owner string) (map[string]keypackage.Supply, error) {
	snap, err := s.one(ctx, s.owners.Doc(owner))
	if err != nil {
		return nil, err
	}
	known, err := readOwner(snap)
	return known.Supplies, err
}

// Retirable implements expiring.Store.
func (s *Store) Retirable(ctx context.Context, now time.Time) iter.Seq2[keypackage.Ledger, error] {
	return find(ctx, "read the ledger", func(snap *snapshot) (keypackage.Ledger, error) {
		var entry keypackage.Ledger
		err := decode(snap, &entry)
		entry.Hash, entry.Version = snap.Ref.ID, snap.UpdateTime
		return entry, err
	}, inShards(s.ledger.Where("check_at", "<=", now), "check_shard", 1, "check_at")...)
}

// Twins implements expiring.Store. It reads the owner's whole stock, which is done once for each package that is retired.
func (s *Store) Twins(ctx context.Context, entry keypackage.Ledger) (twins []expiring.Document, err error) {
	for snap, err := range results(ctx, s.stockOf(entry.Owner, firestore.Asc)) {
		if err != nil {
			return nil, failed("read the stock", err)
		}
		if c := s.candidate(snap); c.Hash == entry.Hash && !c.Addressable {
			twins = append(twins, expiring.Document{ID: c.ID, Version: c.Version})
		}
	}
	return twins, nil
}

// Retire implements expiring.Store.
func (s *Store) Retire(
	ctx context.Context, entry keypackage.Ledger, reserve []expiring.Document, replacements []*keypackage.Candidate,
) error {
	t := s.begin()
	t.update(s.ledger.Doc(entry.Hash), entry.Version, []firestore.Update{{Path: "check_shard", Value: firestore.Delete}})
	for _, d := range reserve {
		t.remove(s.keyPackages.Doc(d.ID), d.Version)
	}
	for _, c := range replacements {
		s.requireStock(t, c)
	}
	return t.commit(ctx, "retire a reserve")
}

// Postpone implements expiring.Store.
func (s *Store) Postpone(ctx context.Context, entry keypackage.Ledger) error {
	t := s.begin()
	t.update(s.ledger.Doc(entry.Hash), entry.Version, fields(entry, "check_at"))
	return t.commit(ctx, "postpone a retirement")
}

// Over implements expiring.Store. The field holds Unix seconds or a timestamp, which are found separately: a query only
// proposes, in Firestore's order of values, and the document's own reading decides. It needs the composite index
// (owner_pubkey, expires_at); of what that holds of these owners, up to 1,000 entries count as one read.
func (s *Store) Over(ctx context.Context, from, to string, now time.Time) iter.Seq2[expiring.Document, error] {
	stock := s.keyPackages.Where(keypackage.FieldOwner, ">=", from)
	if to != "" {
		stock = stock.Where(keypackage.FieldOwner, "<", to)
	}
	between := func(first, last any) firestore.Query {
		return stock.Where(keypackage.FieldExpiresAt, ">", first).Where(keypackage.FieldExpiresAt, "<=", last).
			OrderBy(keypackage.FieldOwner, firestore.Asc).OrderBy(keypackage.FieldExpiresAt, firestore.Asc).
			Select(keypackage.FieldExpiresAt)
	}
	proposed := find(ctx, "read expired packages", func(snap *snapshot) (over expiring.Document, err error) {
		if end, ok := keypackage.Document(snap.Data()).End(); ok && !end.After(now) {
			over = expiring.Document{ID: snap.Ref.ID, Version: snap.UpdateTime}
		}
		return over, nil
	}, between(0, now.Unix()), between(time.Unix(0, 0), now))
	return func(yield func(expiring.Document, error) bool) {
		for over, err := range proposed {
			if (over.ID != "" || err != nil) && !yield(over, err) {
				return
			}
		}
	}
}

// Remove implements expiring.Store: all at once, or one by one if one of them has changed.
func (s *Store) Remove(ctx context.Context, documents []expiring.Document) (removed int, err error) {
	t := s.begin()
	for _, d := range documents {
		t.remove(s.keyPackages.Doc(d.ID), d.Version)
	}
	switch err = t.commit(ctx, "remove expired packages"); {
	case err == nil:
		return len(documents), nil
	case !errors.Is(err, keypackage.ErrConflict):
		return 0, err
	case len(documents) == 1:
		return 0, nil
	}
	for i := range documents {
		n, err := s.Remove(ctx, documents[i:i+1])
		if removed += n; err != nil {
			return removed, err
		}
	}
	return removed, nil
}
