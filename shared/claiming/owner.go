package claiming

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// Bounds of one claim.
const (
	scanLimit   = 512 // documents of one owner that a claim reads at the most
	newestLimit = 64  // documents read instead when the owner's budget is used up
	slotsLimit  = 16  // newest documents among which an addressable package is looked for
	// pageSlack is how many documents are read beyond what is wanted: enough to see that a package stays behind, and
	// that the owner has no reason to be told about her stock.
	pageSlack = keypackage.RefilledStock
)

// answer is what a unit is given. created are the deliveries of its own transaction; found says that its claim was recorded
// already, be it by a commit of its own that ended unclear.
type answer struct {
	claim   keypackage.Claim
	created []*keypackage.Delivery
	found   bool
}

// answerOwner answers units of one owner in one transaction and returns one answer for each, in their order. A lost race is
// decided anew. That a unit was answered before shows only then, since a commit creates its claim; and what ended unclear may
// have been committed.
func (c *Claimer) answerOwner(ctx context.Context, owner string, units []Unit) ([]answer, error) {
	var known []keypackage.Claim
	for attempt := 1; ; attempt++ {
		plan, err := c.planOthers(ctx, owner, units, known)
		if err == nil && plan.writes() {
			err = c.store.Commit(ctx, plan)
		}
		if err == nil {
			return inOrder(units, known, plan), nil
		}
		if attempt == commitAttempts || !worthAnotherAttempt(attempt, err) {
			return nil, fault.Retryable("claim_failed", fmt.Errorf("claim after %d attempts: %w", attempt, err))
		}
		if err := retry.Pause(ctx, backoff(attempt)); err != nil {
			return nil, err
		}
		if recorded, err := c.store.Claims(ctx, claimIDs(units)); err == nil {
			known = recorded
		}
	}
}

// planOthers decides the units of which no answer is known.
func (c *Claimer) planOthers(ctx context.Context, owner string, units []Unit, known []keypackage.Claim) (*Plan, error) {
	others := slices.DeleteFunc(slices.Clone(units), func(u Unit) bool { return answered(known, u) })
	if len(others) == 0 {
		return &Plan{}, nil
	}
	return c.plan(ctx, owner, others)
}

// claimIDs names the claims of the units and the dismissals of their requests.
func claimIDs(units []Unit) (ids []string) {
	for _, u := range units {
		ids = append(ids, u.ClaimID(), keypackage.ClaimID(u.Request.ID, ""))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// plan decides units of one owner on what it reads.
func (c *Claimer) plan(ctx context.Context, owner string, units []Unit) (*Plan, error) {
	reader := stockReader{store: c.store, owner: owner, page: wanted(units) + pageSlack}
	view, err := c.read(ctx, &reader, units)
	if err != nil {
		return nil, err
	}
	if limit := c.newestWanted(units, view); limit > 0 {
		if err := reader.readNewest(ctx, limit); err != nil {
			return nil, err
		}
	}
	for {
		plan, err := decide(units, view, &reader.stock, c.settings.Limits, c.now())
		if !errors.Is(err, errMoreStock) {
			return plan, err
		}
		if err := reader.readOldest(ctx); err != nil {
			return nil, err
		}
	}
}

// newestWanted returns how many of the newest documents are needed as well: those from which the reserve is taken if the
// budget may not suffice, or a few in which an addressable package should be.
func (c *Claimer) newestWanted(units []Unit, view *View) int {
	limited := func(u Unit) bool { // see fillREQ
		return u.Request.REQ && view.Pairs[u.Request.Requester].Requests.Count(c.now()) >= c.settings.PairLimitPerHour
	}
	switch {
	case wanted(units) > c.settings.OwnerBudgetPerHour-view.Owner.HandedOut.Count(c.now()):
		return newestLimit
	case slices.ContainsFunc(units, limited):
		return newestLimit
	case slices.ContainsFunc(units, func(u Unit) bool { return u.Request.PreferAddressable }):
		return slotsLimit
	}
	return 0
}

// read reads the view and the first page of the stock at the same time: nearly every claim needs both.
func (c *Claimer) read(ctx context.Context, reader *stockReader, units []Unit) (view *View, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return reader.readOldest(ctx) })
	group.Go(func() (err error) {
		view, err = c.store.View(ctx, reader.owner, units)
		return err
	})
	return view, group.Wait()
}

// wanted is the number of packages that the units may take. It bounds the first page; a claim that joins needs fewer.
func wanted(units []Unit) int {
	n := 0
	for _, u := range units {
		n += u.Request.Min
	}
	return n
}

func answered(known []keypackage.Claim, u Unit) bool {
	return slices.ContainsFunc(known, func(c keypackage.Claim) bool { return answers(c, u) })
}

// answers reports whether the claim is the unit's, or the dismissal of its whole request.
func answers(c keypackage.Claim, u Unit) bool {
	return c.RequestID == u.Request.ID && (c.Owner == u.Owner || isDismissal(c))
}

// inOrder returns the answers in the order of the units: the known ones, and those of the plan, which has one for each of the
// others.
func inOrder(units []Unit, known []keypackage.Claim, plan *Plan) []answer {
	ordered, next := make([]answer, len(units)), 0
	for i, u := range units {
		if k := slices.IndexFunc(known, func(c keypackage.Claim) bool { return answers(c, u) }); k >= 0 {
			ordered[i].claim, ordered[i].found = known[k], true
			continue
		}
		ordered[i].claim = plan.Claims[next]
		for _, d := range plan.Created {
			if d.RequestID == u.Request.ID {
				ordered[i].created = append(ordered[i].created, d)
			}
		}
		next++
	}
	return ordered
}
