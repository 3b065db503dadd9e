package store

import (
	"context"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Retirable implements expiring.Store. It needs the composite index (retirable, check_at).
func (s *Store) Retirable(ctx context.Context, now time.Time, limit int) ([]keypackage.Ledger, error) {
	snaps, err := s.ledger.Where("retirable", "==", true).Where("check_at", "<=", now).
		OrderBy("check_at", firestore.Asc).Limit(limit).Documents(ctx).GetAll()
	if err != nil {
		return nil, failed("read the ledger", err)
	}
	entries := make([]keypackage.Ledger, len(snaps))
	for i, snap := range snaps {
		if err := decode(snap, &entries[i]); err != nil {
			return nil, err
		}
		entries[i].Hash, entries[i].Version = snap.Ref.ID, snap.UpdateTime
	}
	return entries, nil
}

// Package implements expiring.Store.
func (s *Store) Package(ctx context.Context, id string) (*keypackage.Candidate, error) {
	snaps, err := s.get(ctx, []*firestore.DocumentRef{s.keyPackages.Doc(id)})
	if err != nil || !snaps[0].Exists() {
		return nil, err
	}
	candidates := []*keypackage.Candidate{s.candidate(snaps[0])}
	return candidates[0], s.examine(ctx, candidates)
}

// Retire implements expiring.Store.
func (s *Store) Retire(
	ctx context.Context, entry keypackage.Ledger, exposed *keypackage.Candidate, replacements []*keypackage.Candidate,
) error {
	t := s.begin()
	t.update(s.ledger.Doc(entry.Hash), entry.Version, []firestore.Update{{Path: "retirable", Value: false}})
	if exposed != nil {
		t.remove(s.keyPackages.Doc(exposed.ID), exposed.Version)
	}
	for _, c := range replacements {
		s.requireStock(t, c)
	}
	_, err := t.commit(ctx, "retire an exposed package")
	return err
}

// Postpone implements expiring.Store.
func (s *Store) Postpone(ctx context.Context, entry keypackage.Ledger) error {
	t := s.begin()
	t.update(s.ledger.Doc(entry.Hash), entry.Version, []firestore.Update{{Path: "check_at", Value: entry.CheckAt}})
	_, err := t.commit(ctx, "postpone a retirement")
	return err
}
