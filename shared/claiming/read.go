package claiming

import (
	"context"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// stockReader reads an owner's stock piece by piece.
type stockReader struct {
	stock
	store Store
	owner string
	page  int // size of the next page
	last  *keypackage.Candidate
	read  int
}

// readOldest reads the next page, oldest first. Pages double, so that a long stretch of documents that do not serve
// takes few round trips. At the scan limit the stock counts as ended.
func (r *stockReader) readOldest(ctx context.Context) error {
	limit := min(r.page, scanLimit-r.read)
	page, err := r.store.Oldest(ctx, r.owner, r.last, limit)
	if err != nil {
		return err
	}
	r.add(page)
	for _, c := range page {
		delete(r.beyondGap, c.ID)
	}
	r.read += len(page)
	r.complete = len(page) < limit
	if !r.complete {
		r.last = page[len(page)-1]
		r.truncated = r.read >= scanLimit
		r.complete = r.truncated
	}
	r.page *= 2
	return nil
}

// readNewest reads up to limit of the newest documents. Fewer of them are the whole stock.
func (r *stockReader) readNewest(ctx context.Context, limit int) error {
	newest, err := r.store.Newest(ctx, r.owner, limit)
	if err != nil {
		return err
	}
	r.newest, r.beyondGap = make(map[string]bool, len(newest)), make(map[string]bool, len(newest))
	for _, c := range newest {
		r.newest[c.ID] = true
		r.beyondGap[c.ID] = !slices.ContainsFunc(r.documents, func(old *keypackage.Candidate) bool { return old.ID == c.ID })
	}
	r.add(newest)
	r.complete = r.complete || len(newest) < limit
	return nil
}

// add inserts the documents that were not read before.
func (r *stockReader) add(page []*keypackage.Candidate) {
	known := make(map[string]bool, len(r.documents))
	for _, c := range r.documents {
		known[c.ID] = true
	}
	for _, c := range page {
		if !known[c.ID] {
			r.documents = append(r.documents, c)
		}
	}
	slices.SortFunc(r.documents, keypackage.CompareAge)
}
