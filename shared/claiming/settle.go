package claiming

import (
	"context"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A plan is made in the hope that every document read is what it seems to be: its signatures verify, and nobody has been
// handed it. Then settle finds out, but only about the documents on which the plan relies. Where the hope was wrong, it is
// decided anew. So nothing is verified or looked up for packages that nobody gets.

// settle verifies what the plan relies on, and looks it up in the ledger and among the tombstones. It returns false if the
// plan was made in vain.
//
// With hope, what is handed out once and what remains is not looked up: the commit requires that nobody has been
// handed it and that it is not tombstoned, and fails otherwise. What took more than a page to read is not risked so.
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
