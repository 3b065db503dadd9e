package store

import (
	"context"
	"iter"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// tombstonesAtOnce is how many deliveries wait until the tombstones of their packages are read in one call.
const tombstonesAtOnce = 25

var _ expiring.Store = (*Store)(nil)

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
	return []firestore.Update{
		{Path: keypackage.FieldOpen, Value: firestore.Delete}, {Path: keypackage.FieldKeepUntil, Value: keepUntil},
	}
}

// PendingOwners implements expiring.Store.
func (s *Store) PendingOwners(ctx context.Context) iter.Seq2[keypackage.Owner, error] {
	return find(ctx, "read owners with notices", func(snap *snapshot) (keypackage.Owner, error) {
		var owner keypackage.Owner
		err := decode(snap, &owner)
		owner.Pubkey, owner.Version = snap.Ref.ID, snap.UpdateTime
		return owner, err
	}, s.owners.Where("pending", "==", true))
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
	var known keypackage.Owner
	snap, err := s.one(ctx, s.owners.Doc(owner))
	if err == nil {
		err = decode(snap, &known)
	}
	return known.Supplies, err
}
