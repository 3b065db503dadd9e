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
	proposed := find(ctx, "read expired packages", between(0, now.Unix()), between(time.Unix(0, 0), now))
	return func(yield func(expiring.Document, error) bool) {
		for snap, err := range proposed {
			if err != nil {
				yield(expiring.Document{}, err)
				return
			}
			end, ok := keypackage.Document(snap.Data()).End()
			if ok && !end.After(now) && !yield(expiring.Document{ID: snap.Ref.ID, Version: snap.UpdateTime}, nil) {
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
	switch _, err = t.commit(ctx, "remove expired packages"); {
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
