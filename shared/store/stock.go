package store

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"

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
	var portion claiming.Portion
	for snap, err := range results(ctx, query) {
		if err != nil {
			return claiming.Portion{}, failed("read the stock", err)
		}
		c := s.candidate(snap)
		portion.Candidates = append(portion.Candidates, c)
		if portion.Bytes += c.Size; portion.Bytes >= page.Bytes {
			return portion, nil
		}
	}
	portion.End = len(portion.Candidates) < page.Documents
	return portion, nil
}

// CountSuite implements claiming.Store and publishing.Store. Firestore charges one read for up to 1,000 documents.
func (s *Store) CountSuite(ctx context.Context, owner, suite string, limit int) (int, error) {
	query := s.keyPackages.Where(keypackage.FieldOwner, "==", owner)
	if suite != "" {
		query = query.Where(keypackage.FieldCiphersuite, "==", suite)
	}
	query = query.Limit(limit)
	const name = "documents"
	result, err := query.NewAggregationQuery().WithCount(name).Get(ctx)
	count, ok := result[name].(*firestorepb.Value)
	if err == nil && !ok {
		err = errors.New("no count in the answer")
	}
	return int(count.GetIntegerValue()), failed("count the stock", err)
}

// Newest implements expiring.Store.
func (s *Store) Newest(ctx context.Context, owner string, limit int) (newest []*keypackage.Candidate, whole bool, err error) {
	return s.examined(ctx, owner, claiming.Page{Newest: true, Documents: limit, Bytes: claiming.MaxStockBytes})
}

// Oldest reads up to limit documents of the owner's stock, oldest first, from behind `after` (nil: from the start), and
// all that decides about them. Fewer than limit means that the stock ends there.
func (s *Store) Oldest(ctx context.Context, owner string, after *keypackage.Candidate, limit int) ([]*keypackage.Candidate, error) {
	oldest, _, err := s.examined(ctx, owner, claiming.Page{After: after, Documents: limit, Bytes: math.MaxInt})
	return oldest, err
}

// examined reads documents of the stock, and leaves nothing open about them.
func (s *Store) examined(ctx context.Context, owner string, page claiming.Page) ([]*keypackage.Candidate, bool, error) {
	portion, err := s.ReadStock(ctx, owner, page)
	if err != nil {
		return nil, false, err
	}
	s.Verify(portion.Candidates)
	return portion.Candidates, portion.End, s.LookUp(ctx, portion.Candidates)
}

// stockOf needs the composite index (owner_pubkey, created_at) in that direction; the id breaks ties.
func (s *Store) stockOf(owner string, direction firestore.Direction) firestore.Query {
	return s.keyPackages.Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, direction).OrderBy(firestore.DocumentID, direction)
}

func (s *Store) candidate(snap *snapshot) *keypackage.Candidate {
	c := &keypackage.Candidate{Package: s.inspections.of(snap, s.policy), Stored: snap.CreateTime, Version: snap.UpdateTime}
	if c.Flaw != "" {
		c.Forget()
	}
	return c
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
	snaps, err := s.get(ctx, refs...)
	if err != nil {
		return err
	}
	for i, c := range asked {
		c.Use, c.Tombstoned, c.LookedUp = ledgerUse(snaps[2*i]), snaps[2*i+1].Exists(), true
	}
	return nil
}

// holdingPage is how many documents of a stock are read at a time.
const holdingPage = 300

// Holdings sums up an owner's whole stock and ledger, one read for each document: for people who ask now and then, not for requests.
func (s *Store) Holdings(ctx context.Context, owner string, now time.Time) ([]keypackage.Holding, error) {
	var stock []*keypackage.Candidate
	page := claiming.Page{Documents: holdingPage, Bytes: math.MaxInt}
	for {
		some, end, err := s.examined(ctx, owner, page)
		if err != nil {
			return nil, err
		}
		stock = append(stock, some...)
		if end {
			break
		}
		page.After = some[len(some)-1]
	}
	var ledger []keypackage.Ledger
	for snap, err := range results(ctx, s.ledger.Where("owner_pubkey", "==", owner).Select("ciphersuite", "use")) {
		if err != nil {
			return nil, failed("read the ledger of an owner", err)
		}
		var entry keypackage.Ledger
		if decode(snap, &entry) != nil {
			entry = keypackage.Ledger{} // of no known use, and counted so
		}
		ledger = append(ledger, entry)
	}
	return keypackage.Holdings(stock, ledger, now), nil
}

// inspectionsKept bounds what is remembered: twice as many packages, each some hundred bytes.
const inspectionsKept = 4096

// inspections remembers what verified documents of the stock say. Verifying one costs three signatures, 0.7 ms, and each claim verifies
// the oldest one and one that remains, which the next claim meets again. It is safe for concurrent use.
//
// The key is the document's id and its update time, under which Firestore has one content only; the transaction relies on just the same.
// What is remembered depends on nothing else, and on no clock; the document itself is not kept.
type inspections struct {
	mu            sync.Mutex
	recent, older map[inspected]keypackage.Package
}

type inspected struct {
	id      string
	version time.Time
}

// of returns what the document says, verified if it was verified before.
func (i *inspections) of(snap *snapshot, policy keypackage.Policy) keypackage.Package {
	doc := keypackage.Document(snap.Data())
	p, ok := i.find(inspected{snap.Ref.ID, snap.UpdateTime})
	if !ok {
		return keypackage.Read(snap.Ref.ID, doc, policy)
	}
	p.Document, p.Event = doc, doc.Text(keypackage.FieldEvent)
	return p
}

func (i *inspections) find(key inspected) (keypackage.Package, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p, ok := i.recent[key]; ok {
		return p, true
	}
	p, ok := i.older[key]
	return p, ok
}

// keep remembers a verified candidate. It forgets the older half once the recent one is full.
func (i *inspections) keep(c *keypackage.Candidate) {
	p := c.Package
	p.Document, p.Event = nil, ""
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.recent == nil || len(i.recent) == inspectionsKept {
		i.older, i.recent = i.recent, make(map[inspected]keypackage.Package)
	}
	i.recent[inspected{c.ID, c.Version}] = p
}
