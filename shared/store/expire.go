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
		var batch []keypackage.Delivery
		pass := func() bool {
			found, err := s.withTombstones(ctx, batch, tombstones)
			for _, one := range found {
				if !yield(one, nil) {
					return false
				}
			}
			batch = nil
			if err != nil {
				yield(keypackage.StoredDelivery{}, err)
			}
			return err == nil
		}
		for one, err := range s.open(ctx, s.deliveries.Where("expires_at", "<=", before)) {
			if err != nil {
				if !yield(keypackage.StoredDelivery{}, err) {
					return
				}
			} else if batch = append(batch, one); len(batch) == tombstonesAtOnce && !pass() {
				return
			}
		}
		pass()
	}
}

// withTombstones reads by id whether the packages of deliveries were deleted, if that is wanted.
func (s *Store) withTombstones(
	ctx context.Context, deliveries []keypackage.Delivery, wanted bool,
) ([]keypackage.StoredDelivery, error) {
	found := make([]keypackage.StoredDelivery, len(deliveries))
	var refs []*firestore.DocumentRef
	for i, d := range deliveries {
		found[i].Delivery = d
		refs = append(refs, s.tombstone(d.PackageID, d.Owner))
	}
	if !wanted {
		return found, nil
	}
	tombstones, err := s.get(ctx, refs)
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i].Tombstoned = tombstones[i].Exists()
	}
	return found, nil
}

// Waiting implements expiring.Store.
func (s *Store) Waiting(ctx context.Context, now time.Time) iter.Seq2[keypackage.Delivery, error] {
	return s.open(ctx, s.deliveries.Where("expires_at", ">", now))
}

// open goes through those of the deliveries that have a shard: a delivery has one as long as it is open.
func (s *Store) open(ctx context.Context, query firestore.Query) iter.Seq2[keypackage.Delivery, error] {
	queries := inShards(query, "due_shard", 1, "expires_at")
	return decoded(find(ctx, "read open deliveries by their end", queries...), readDelivery)
}

// readDelivery takes for unreadable also what is not whole, and would fail whatever is done about it, and what else is done in
// the same call.
func readDelivery(snap *firestore.DocumentSnapshot) (keypackage.Delivery, error) {
	d := keypackage.Delivery{ID: snap.Ref.ID, Version: snap.UpdateTime}
	if err := decode(snap, &d); err != nil {
		return d, err
	}
	if !d.Whole() {
		return d, unreadable(snap, nil)
	}
	return d, nil
}

// Expire implements expiring.Store.
func (s *Store) Expire(ctx context.Context, deliveries []*keypackage.Delivery) error {
	entries, err := s.ledgerOfReturned(ctx, deliveries)
	if err != nil {
		return err
	}
	t := s.begin()
	for _, d := range deliveries {
		t.update(s.deliveries.Doc(d.ID), d.Version, progress(d))
		if d.Reason == keypackage.ExpiredReturned {
			s.returnToStock(t, d, entries[d.Hash])
		}
	}
	return t.run(ctx, "expire deliveries")
}

// returnToStock puts the package back in its old place. Set, not Create: the relay may have stored a re-broadcast of the
// same event meanwhile. The ledger entry goes with it, but only the one that this delivery made.
func (s *Store) returnToStock(t *transaction, d *keypackage.Delivery, entry *firestore.DocumentSnapshot) {
	t.require(s.tombstone(d.PackageID, d.Owner), missing)
	t.set(s.keyPackages.Doc(d.PackageID), d.Package)
	if by, _ := entry.Data()["delivery_id"].(string); by == d.ID && ledgerUse(entry) == keypackage.UseOneTime {
		t.remove(entry.Ref, entry.UpdateTime)
	}
}

func (s *Store) ledgerOfReturned(
	ctx context.Context, deliveries []*keypackage.Delivery,
) (map[string]*firestore.DocumentSnapshot, error) {
	var refs []*firestore.DocumentRef
	for _, d := range deliveries {
		if d.Reason == keypackage.ExpiredReturned {
			refs = append(refs, s.ledger.Doc(d.Hash))
		}
	}
	snaps, err := s.get(ctx, refs)
	entries := make(map[string]*firestore.DocumentSnapshot, len(snaps))
	for _, snap := range snaps {
		entries[snap.Ref.ID] = snap
	}
	return entries, err
}
