package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/iterator"

	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var _ expiring.Store = (*Store)(nil)

// Due implements expiring.Store. It is one query, whose answers come as they are taken.
func (s *Store) Due(ctx context.Context, before time.Time, batch int) iter.Seq2[[]keypackage.StoredDelivery, error] {
	return func(yield func([]keypackage.StoredDelivery, error) bool) {
		documents := s.open().Where("expires_at", "<=", before).Documents(ctx)
		defer documents.Stop()
		for {
			snaps, err := upTo(batch, documents)
			var found []keypackage.StoredDelivery
			if err == nil {
				found, err = s.withTombstones(ctx, snaps)
			}
			if err == nil && len(found) == 0 || !yield(found, err) || err != nil || len(snaps) < batch {
				return
			}
		}
	}
}

// upTo takes up to n documents from a query's answers.
func upTo(n int, documents *firestore.DocumentIterator) ([]*firestore.DocumentSnapshot, error) {
	var snaps []*firestore.DocumentSnapshot
	for len(snaps) < n {
		snap, err := documents.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			return nil, failed(readByEnd, err)
		}
		snaps = append(snaps, snap)
	}
	return snaps, nil
}

const readByEnd = "read open deliveries by their end"

// Waiting implements expiring.Store.
func (s *Store) Waiting(
	ctx context.Context, now time.Time, after *keypackage.Delivery, limit int,
) ([]keypackage.StoredDelivery, error) {
	query := s.open().Where("expires_at", ">", now).Limit(limit)
	if after != nil {
		query = query.StartAfter(after.ExpiresAt, after.ID)
	}
	return s.byEnd(ctx, query)
}

// open needs the composite index (state, expires_at).
func (s *Store) open() firestore.Query {
	return s.deliveries.Where("state", "in", openStates).
		OrderBy("expires_at", firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc)
}

func (s *Store) byEnd(ctx context.Context, query firestore.Query) ([]keypackage.StoredDelivery, error) {
	snaps, err := query.Documents(ctx).GetAll()
	if err != nil {
		return nil, failed(readByEnd, err)
	}
	return s.withTombstones(ctx, snaps)
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
	_, err = t.commit(ctx, "expire deliveries")
	return err
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

// RemoveExpired implements expiring.Store. The field holds Unix seconds or a timestamp, which are found separately.
func (s *Store) RemoveExpired(ctx context.Context, now time.Time, limit int) (found, removed int, err error) {
	for _, end := range []any{now.Unix(), now} {
		if found == limit {
			break
		}
		query := s.keyPackages.Where(keypackage.FieldExpiresAt, "<=", end).Limit(limit - found)
		snaps, err := query.Documents(ctx).GetAll()
		if err != nil {
			return found, removed, failed("read expired packages", err)
		}
		n, err := s.removeAll(ctx, snaps)
		found, removed = found+len(snaps), removed+n
		if err != nil {
			return found, removed, err
		}
	}
	return found, removed, nil
}

// removeAll removes documents as they were read, all at once, or one by one if one of them has changed.
func (s *Store) removeAll(ctx context.Context, snaps []*firestore.DocumentSnapshot) (removed int, err error) {
	if len(snaps) == 0 {
		return 0, nil
	}
	t := s.begin()
	for _, snap := range snaps {
		t.remove(snap.Ref, snap.UpdateTime)
	}
	switch _, err = t.commit(ctx, "remove expired packages"); {
	case err == nil:
		return len(snaps), nil
	case !errors.Is(err, keypackage.ErrConflict):
		return 0, err
	case len(snaps) == 1:
		return 0, nil
	}
	for i := range snaps {
		n, err := s.removeAll(ctx, snaps[i:i+1])
		if removed += n; err != nil {
			return removed, err
		}
	}
	return removed, nil
}
