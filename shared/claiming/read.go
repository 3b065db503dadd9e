package claiming

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Bounds of what a claim reads of the stock. A request costs a stranger nothing, so what it costs here is bounded in
// documents and in bytes, whatever owners have published. At each of them a claim decides as if the stock ended there.
const (
	scanLimit     = 512     // documents of one owner
	MaxStockBytes = 4 << 20 // bytes of one owner's documents; ordinary ones have 3 KB
	requestLimit  = 1000    // documents for one request, over all its owners
	slotsLimit    = 16      // newest documents among which an addressable package is looked for
)

// stockReader reads an owner's stock piece by piece, and finds out about its documents what a plan relies on.
type stockReader struct {
	stock
	store      Store
	owner      string
	units      []Unit
	page       int // size of the next page
	last       *keypackage.Candidate
	oldest     int // documents read oldest first
	pages      int // pages read
	read       int // documents read
	bytes      int // of these
	examined   int // candidates that were verified or looked up
	others     int // candidates that nobody asks for
	allowances []*allowance
}

// newStockReader returns a reader whose first page is enough if nothing is wrong with it: what is wanted, and one that stays.
func newStockReader(store Store, owner string, units []Unit) *stockReader {
	r := &stockReader{store: store, owner: owner, units: units, page: wanted(units) + 1}
	for _, u := range units {
		if u.reads != nil {
			r.allowances = append(r.allowances, u.reads)
		}
	}
	return r
}

// readOldest reads the next page, oldest first. Pages double, so that a long stretch of documents that do not serve
// takes few round trips.
func (r *stockReader) readOldest(ctx context.Context) error {
	portion, err := r.take(ctx, Page{After: r.last, Documents: min(r.page, scanLimit-r.oldest)})
	if err != nil {
		return err
	}
	page := portion.Candidates
	for _, c := range page {
		delete(r.beyondGap, c.ID)
	}
	r.oldest += len(page)
	r.page *= 2
	if r.complete = portion.End; r.complete {
		return nil
	}
	if len(page) > 0 {
		r.last = page[len(page)-1]
	}
	r.truncated = len(page) == 0 || r.oldest >= scanLimit || r.bytes >= MaxStockBytes
	r.complete = r.truncated
	return nil
}

// readNewest reads up to limit of the newest documents. Fewer of them are the whole stock.
func (r *stockReader) readNewest(ctx context.Context, limit int) error {
	portion, err := r.take(ctx, Page{Newest: true, Documents: limit})
	if err != nil {
		return err
	}
	r.newest, r.beyondGap = make(map[string]bool), make(map[string]bool)
	for _, c := range portion.Candidates {
		r.newest[c.ID] = true
		r.beyondGap[c.ID] = slices.Contains(r.documents, c) // otherwise it was read before
	}
	r.complete = r.complete || portion.End
	return nil
}

// countLimit is how many documents are counted beyond those that the units take, and those that were read, of which some may be of
// no use: after so many claims at the latest they are counted again. Up to 1,000 cost as much as one.
const countLimit = 20

// count counts the documents for the owner's notices: of the ciphersuite that all units ask for, or of all.
func (r *stockReader) count(ctx context.Context) (err error) {
	suite, first := "", r.units[0].Request
	if !first.AnySuite && !slices.ContainsFunc(r.units, func(u Unit) bool { return !u.Request.Matches(first.Suite) || u.Request.AnySuite }) {
		r.countedOf, suite = first.Suite, keypackage.SuiteKey(first.Suite)
	}
	r.counted, err = r.store.CountSuite(ctx, r.owner, suite, wanted(r.units)+len(r.documents)+countLimit)
	r.isCounted = err == nil
	return err
}

// take reads a page as far as the bounds allow, and adds what was not read before.
func (r *stockReader) take(ctx context.Context, page Page) (Portion, error) {
	if page.Bytes = MaxStockBytes - r.bytes; page.Bytes <= 0 {
		return Portion{}, nil
	}
	if r.read > 0 { // documents are about as large as those before: more would be read in vain
		page.Documents = min(page.Documents, page.Bytes/max(1, r.bytes/r.read)+1)
	}
	if page.Documents = reserve(r.allowances, page.Documents); page.Documents == 0 {
		return Portion{}, nil
	}
	portion, err := r.store.ReadStock(ctx, r.owner, page)
	spend(r.allowances, len(portion.Candidates)-page.Documents)
	r.pages++
	r.read += len(portion.Candidates)
	r.bytes += portion.Bytes
	r.add(portion.Candidates)
	return portion, err
}

// witnesses is how many candidates that nobody asks for are looked at, to tell whether the owner has anything at all.
const witnesses = 8

// add inserts the documents that were not read before. What nobody asks for is not kept, and after the first of them
// believed to be what it seems.
func (r *stockReader) add(page []*keypackage.Candidate) {
	known := make(map[string]bool, len(r.documents))
	for _, c := range r.documents {
		known[c.ID] = true
	}
	for _, c := range page {
		if known[c.ID] {
			continue
		}
		if c.Flaw == "" && !r.asked(c) {
			if r.others++; r.others > witnesses {
				c.Forget()
				c.Verified, c.LookedUp = true, true
			}
		}
		r.documents = append(r.documents, c)
	}
	slices.SortFunc(r.documents, keypackage.CompareAge)
}

// asked reports whether one of the units may be given the candidate.
func (r *stockReader) asked(c *keypackage.Candidate) bool {
	return c.Flaw == "" && slices.ContainsFunc(r.units, func(u Unit) bool { return u.Request.Matches(c.Suite) })
}

// giveBack returns what an attempt has read that came to nothing: lost races are bounded by themselves.
func (r *stockReader) giveBack() { spend(r.allowances, -r.read) }

// allowance is how many more documents of stock may be read for one request. It is safe for concurrent use.
type allowance struct{ atomic.Int64 }

func newAllowance() *allowance {
	a := new(allowance)
	a.Store(requestLimit)
	return a
}

// reserve takes up to n documents from the allowances of requests that read together, and returns how many the one with
// the most left has.
func reserve(of []*allowance, n int) int {
	if len(of) == 0 {
		return n
	}
	most := 0
	for _, a := range of {
		most = max(most, int(a.Load()))
	}
	n = min(n, most)
	spend(of, n)
	return n
}

func spend(of []*allowance, n int) {
	for _, a := range of {
		a.Add(int64(-n))
	}
}

// settle finds out whether the plan is made in vain, and returns false if it is. A plan is made in the hope that every document read is
// what it seems to be: its signatures verify, and nobody has been handed it. That is verified, and looked up in the ledger and among
// the tombstones, only of the documents on which the plan relies; where the hope was wrong, it is decided anew.
//
// With hope, what is handed out once and what remains is not looked up: the commit requires that nobody has been handed it and that
// it is not tombstoned, and fails otherwise. What took more than a page to read is not risked so.
func (r *stockReader) settle(ctx context.Context, plan *Plan, hope bool) (bool, error) {
	verify := slices.Concat(candidates(plan.Reserves), plan.decisive, candidates(plan.Consumed), plan.Remaining)
	lookUp := slices.Concat(candidates(plan.Reserves), plan.decisive)
	if !hope || r.pages > 1 {
		lookUp = verify
	}
	surprised := false
	if open := r.open(verify, func(c *keypackage.Candidate) bool { return c.Verified }); len(open) > 0 {
		r.store.Verify(open)
		surprised = slices.ContainsFunc(open, func(c *keypackage.Candidate) bool { return c.Flaw != "" })
	}
	if open := r.open(lookUp, func(c *keypackage.Candidate) bool { return c.LookedUp }); len(open) > 0 {
		if err := r.store.LookUp(ctx, open); err != nil {
			return false, err
		}
		surprised = surprised || slices.ContainsFunc(open, func(c *keypackage.Candidate) bool {
			return c.Tombstoned || c.Use != keypackage.UseNone
		})
	}
	return !surprised, nil
}

// open returns the documents of which something is still to be known, and behind them as many more as were examined before: a
// long stretch of documents that are not what they seem takes few rounds.
func (r *stockReader) open(required []*keypackage.Candidate, known func(*keypackage.Candidate) bool) []*keypackage.Candidate {
	var open, others []*keypackage.Candidate
	for _, c := range r.documents {
		same := func(other *keypackage.Candidate) bool { return other.ID == c.ID }
		switch {
		case c.Flaw != "" || known(c):
		case slices.ContainsFunc(required, same):
			open = append(open, c)
		case r.asked(c):
			others = append(others, c)
		}
	}
	if len(open) > 0 {
		open = append(open, others[:min(len(others), r.examined)]...)
		r.examined += len(open)
	}
	return open
}

func candidates(handouts []Handout) []*keypackage.Candidate {
	all := make([]*keypackage.Candidate, len(handouts))
	for i, h := range handouts {
		all[i] = h.Candidate
	}
	return all
}
