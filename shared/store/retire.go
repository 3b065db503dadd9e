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

// Retirable implements expiring.Store.
func (s *Store) Retirable(ctx context.Context, now time.Time) iter.Seq2[keypackage.Ledger, error] {
	return find(ctx, "read the ledger", func(snap *snapshot) (keypackage.Ledger, error) {
		var entry keypackage.Ledger
		err := decode(snap, &entry)
		entry.Hash, entry.Version = snap.Ref.ID, snap.UpdateTime
		return entry, err
	}, inShards(s.ledger.Where("check_at", "<=", now), "check_shard", 1, "check_at")...)
}

// Twins implements expiring.Store. It reads the owner's whole stock, which is done once for each package that is retired, and keeps
// no document.
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
	type proposal struct {
		expiring.Document
		over bool
	}
	proposed := find(ctx, "read expired packages", func(snap *snapshot) (proposal, error) {
		end, ok := keypackage.Document(snap.Data()).End()
		return proposal{expiring.Document{ID: snap.Ref.ID, Version: snap.UpdateTime}, ok && !end.After(now)}, nil
	}, between(0, now.Unix()), between(time.Unix(0, 0), now))
	return func(yield func(expiring.Document, error) bool) {
		for p, err := range proposed {
			if (p.over || err != nil) && !yield(p.Document, err) {
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
