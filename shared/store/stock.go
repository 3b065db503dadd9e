package store

import (
	"context"
	"errors"
	"math"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/iterator"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ReadStock implements claiming.Store. Documents are taken one by one, so that no more of them are held than are kept.
func (s *Store) ReadStock(ctx context.Context, owner string, page claiming.Page) (claiming.Portion, error) {
	direction := firestore.Asc
	if page.Newest {
		direction = firestore.Desc
	}
	query := s.stockOf(owner, direction).Limit(page.Documents)
	if page.After != nil {
		query = query.StartAfter(page.After.Document[keypackage.FieldCreatedAt], page.After.ID)
	}
	documents := query.Documents(ctx)
	defer documents.Stop()
	var portion claiming.Portion
	for portion.Bytes < page.Bytes {
		snap, err := documents.Next()
		if errors.Is(err, iterator.Done) {
			portion.End = len(portion.Candidates) < page.Documents
			break
		}
		if err != nil {
			return claiming.Portion{}, failed("read the stock", err)
		}
		c := s.candidate(snap)
		portion.Candidates = append(portion.Candidates, c)
		portion.Bytes += c.Size
	}
	return portion, nil
}

// CountSuite implements claiming.Store. Firestore charges one read for up to 1,000 documents.
func (s *Store) CountSuite(ctx context.Context, owner, suite string, limit int) (int, error) {
	query := s.keyPackages.Where(keypackage.FieldOwner, "==", owner)
	if suite != "" {
		query = query.Where(keypackage.FieldCiphersuite, "==", suite)
	}
	const name = "documents"
	query = query.Limit(limit)
	result, err := query.NewAggregationQuery().WithCount(name).Get(ctx)
	if err != nil {
		return 0, failed("count the stock", err)
	}
	count, ok := result[name].(*firestorepb.Value)
	if !ok {
		return 0, failed("count the stock", errNoCount)
	}
	return int(count.GetIntegerValue()), nil
}

var errNoCount = errors.New("no count in the answer")

// Newest implements expiring.Store.
func (s *Store) Newest(ctx context.Context, owner string, limit int) (newest []*keypackage.Candidate, whole bool, err error) {
	page := claiming.Page{Newest: true, Documents: limit, Bytes: claiming.MaxStockBytes}
	portion, err := s.ReadStock(ctx, owner, page)
	if err != nil {
		return nil, false, err
	}
	return portion.Candidates, portion.End, s.examine(ctx, portion.Candidates)
}

// Oldest reads up to limit documents of the owner's stock, oldest first, from behind `after` (nil: from the start), and
// all that decides about them. Fewer than limit means that the stock ends there.
func (s *Store) Oldest(
	ctx context.Context, owner string, after *keypackage.Candidate, limit int,
) ([]*keypackage.Candidate, error) {
	portion, err := s.ReadStock(ctx, owner, claiming.Page{After: after, Documents: limit, Bytes: math.MaxInt})
	if err != nil {
		return nil, err
	}
	return portion.Candidates, s.examine(ctx, portion.Candidates)
}

// stockOf needs the composite index (owner_pubkey, created_at) in that direction; the id breaks ties.
func (s *Store) stockOf(owner string, direction firestore.Direction) firestore.Query {
	return s.keyPackages.Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, direction).OrderBy(firestore.DocumentID, direction)
}

func (s *Store) candidate(snap *firestore.DocumentSnapshot) *keypackage.Candidate {
	c := &keypackage.Candidate{
		Package: s.inspections.of(snap, s.policy), Stored: snap.CreateTime, Version: snap.UpdateTime,
	}
	if c.Flaw != "" {
		c.Forget()
	}
	return c
}

// examine leaves nothing open about the candidates.
func (s *Store) examine(ctx context.Context, candidates []*keypackage.Candidate) error {
	s.Verify(candidates)
	return s.LookUp(ctx, candidates)
}

// Verify implements claiming.Store.
func (s *Store) Verify(candidates []*keypackage.Candidate) {
	for _, c := range candidates {
		if !c.Verified {
			c.Package.Verify(s.policy)
			s.inspections.keep(c)
		}
	}
}

// LookUp implements claiming.Store. The ledger and the tombstones of what is of no use anyway are not read.
func (s *Store) LookUp(ctx context.Context, candidates []*keypackage.Candidate) error {
	var refs []*firestore.DocumentRef
	var asked []*keypackage.Candidate
	for _, c := range candidates {
		if c.Flaw == "" && !c.LookedUp {
			asked = append(asked, c)
			refs = append(refs, s.ledger.Doc(c.Hash), s.tombstone(c.ID, c.Owner))
		}
	}
	snaps, err := s.get(ctx, refs)
	if err != nil {
		return err
	}
	for i, c := range asked {
		c.Use, c.Tombstoned, c.LookedUp = ledgerUse(snaps[2*i]), snaps[2*i+1].Exists(), true
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
