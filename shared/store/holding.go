package store

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// holdingPage is how many documents of a stock are read at a time.
const holdingPage = 300

// Holdings sums up what an owner has in stock and what was handed out of it. It reads the owner's whole stock and ledger,
// one document each: for people who ask now and then, not for requests.
func (s *Store) Holdings(ctx context.Context, owner string, now time.Time) ([]keypackage.Holding, error) {
	var stock []*keypackage.Candidate
	var last *keypackage.Candidate
	for {
		page, err := s.Oldest(ctx, owner, last, holdingPage)
		if err != nil {
			return nil, err
		}
		stock = append(stock, page...)
		if len(page) < holdingPage {
			break
		}
		last = page[len(page)-1]
	}
	ledger, err := s.ledgerOf(ctx, owner)
	return keypackage.Holdings(stock, ledger, now), err
}

// ledgerOf reads of the owner's entries only what Holdings needs.
func (s *Store) ledgerOf(ctx context.Context, owner string) ([]keypackage.Ledger, error) {
	snaps, err := s.ledger.Where("owner_pubkey", "==", owner).Select("ciphersuite", "use").Documents(ctx).GetAll()
	if err != nil {
		return nil, failed("read the ledger of an owner", err)
	}
	entries := make([]keypackage.Ledger, len(snaps))
	for i, snap := range snaps {
		if decode(snap, &entries[i]) != nil {
			entries[i] = keypackage.Ledger{} // of no known use, and counted so
		}
	}
	return entries, nil
}
