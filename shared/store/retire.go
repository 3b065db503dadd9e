package store

import (
	"context"
	"iter"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Retirable implements expiring.Store.
func (s *Store) Retirable(ctx context.Context, now time.Time) iter.Seq2[keypackage.Ledger, error] {
	queries := inShards(s.ledger.Where("check_at", "<=", now), "check_shard", 1, "check_at")
	return decoded(find(ctx, "read the ledger", queries...), func(snap *firestore.DocumentSnapshot) (keypackage.Ledger, error) {
		var entry keypackage.Ledger
		err := decode(snap, &entry)
		entry.Hash, entry.Version = snap.Ref.ID, snap.UpdateTime
		return entry, err
	})
}

// twinsPage is how many documents are read at a time, and then forgotten.
const twinsPage = 64

// Twins implements expiring.Store. It reads the owner's whole stock, which is done once for each package that is retired.
func (s *Store) Twins(ctx context.Context, entry keypackage.Ledger) (twins []expiring.Document, err error) {
	page := claiming.Page{Documents: twinsPage, Bytes: claiming.MaxStockBytes}
	for {
		portion, err := s.ReadStock(ctx, entry.Owner, page)
		if err != nil {
			return nil, err
		}
		for _, c := range portion.Candidates {
			if c.Hash == entry.Hash && !c.Addressable {
				twins = append(twins, expiring.Document{ID: c.ID, Version: c.Version})
			}
			page.After = c
		}
		if portion.End {
			return twins, nil
		}
	}
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
	return t.run(ctx, "retire a reserve")
}

// Postpone implements expiring.Store.
func (s *Store) Postpone(ctx context.Context, entry keypackage.Ledger) error {
	t := s.begin()
	t.update(s.ledger.Doc(entry.Hash), entry.Version, []firestore.Update{{Path: "check_at", Value: entry.CheckAt}})
	return t.run(ctx, "postpone a retirement")
}
