package store

import (
	"context"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Oldest implements claiming.Store.
func (s *Store) Oldest(
	ctx context.Context, owner string, after *keypackage.Candidate, limit int,
) ([]*keypackage.Candidate, error) {
	query := s.stockOf(owner, firestore.Asc).Limit(limit)
	if after != nil {
		query = query.StartAfter(after.Document[keypackage.FieldCreatedAt], after.ID)
	}
	return s.candidates(ctx, query)
}

// Newest implements claiming.Store.
func (s *Store) Newest(ctx context.Context, owner string, limit int) ([]*keypackage.Candidate, error) {
	return s.candidates(ctx, s.stockOf(owner, firestore.Desc).Limit(limit))
}

// stockOf needs the composite index (owner_pubkey, created_at) in that direction; the id breaks ties.
func (s *Store) stockOf(owner string, direction firestore.Direction) firestore.Query {
	return s.keyPackages.Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, direction).OrderBy(firestore.DocumentID, direction)
}

// candidates reads documents of the stock, and by id what else decides about them. The ledger and the tombstones of what
// is of no use anyway are not read.
func (s *Store) candidates(ctx context.Context, query firestore.Query) ([]*keypackage.Candidate, error) {
	snaps, err := query.Documents(ctx).GetAll()
	if err != nil {
		return nil, failed("read the stock", err)
	}
	candidates := make([]*keypackage.Candidate, len(snaps))
	for i, snap := range snaps {
		candidates[i] = s.candidate(snap)
	}
	return candidates, s.look(ctx, candidates)
}

func (s *Store) candidate(snap *firestore.DocumentSnapshot) *keypackage.Candidate {
	return &keypackage.Candidate{
		Package: s.inspections.of(snap, s.policy),
		Stored:  snap.CreateTime, Version: snap.UpdateTime,
	}
}

// look fills in what the ledger and the tombstones say.
func (s *Store) look(ctx context.Context, candidates []*keypackage.Candidate) error {
	var refs []*firestore.DocumentRef
	var asked []*keypackage.Candidate
	for _, c := range candidates {
		if c.Flaw == "" {
			asked = append(asked, c)
			refs = append(refs, s.ledger.Doc(c.Hash), s.tombstone(c.ID, c.Owner))
		}
	}
	snaps, err := s.get(ctx, refs)
	if err != nil {
		return err
	}
	for i, c := range asked {
		c.Use, c.Tombstoned = ledgerUse(snaps[2*i]), snaps[2*i+1].Exists()
	}
	return nil
}

// version returns the update time of a document, or the zero time if there is none.
func version(snap *firestore.DocumentSnapshot) time.Time {
	if !snap.Exists() {
		return time.Time{}
	}
	return snap.UpdateTime
}
