package claiming

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// commitAttempts is how many races a claim loses before the event is handed back to the platform.
const commitAttempts = 16

// answerOwner answers units of one owner, in one transaction as far as they have no answer yet, and returns one record
// for each unit, in their order. A lost race is decided anew.
func (c *Claimer) answerOwner(ctx context.Context, owner string, units []Unit) ([]keypackage.Claim, error) {
	for attempt := 1; ; attempt++ {
		records, err := c.attempt(ctx, owner, units, attempt == 1)
		if err == nil {
			return records, nil
		}
		if attempt == commitAttempts || !worthAnotherAttempt(attempt, err) {
			return nil, fault.Retryable("claim_failed", fmt.Errorf("claim after %d attempts: %w", attempt, err))
		}
		if err := retry.Pause(ctx, backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

// worthAnotherAttempt allows many lost races, which are over as soon as they are lost, but only a few other failures.
func worthAnotherAttempt(attempt int, err error) bool {
	return errors.Is(err, keypackage.ErrConflict) || attempt < transientAttempts
}

// backoff is random, so that losers of the same race do not meet again, and grows to 100 ms.
func backoff(attempt int) time.Duration {
	return time.Duration(rand.Int64N(int64(min(attempt, 10)) * int64(10*time.Millisecond)))
}

// attempt decides and commits once. With hope it leaves to the commit what a look at the ledger would have told before.
func (c *Claimer) attempt(ctx context.Context, owner string, units []Unit, hope bool) ([]keypackage.Claim, error) {
	reader := newStockReader(c.store, owner, units)
	plan, known, err := c.plan(ctx, reader, hope)
	if err == nil && len(plan.Records) > 0 {
		err = c.store.Commit(ctx, plan)
	}
	if err != nil {
		reader.giveBack()
		return nil, err
	}
	return inOrder(units, append(known, plan.Records...)), nil
}

// plan decides the units that have no answer yet, and returns the records of the others.
func (c *Claimer) plan(ctx context.Context, reader *stockReader, hope bool) (*Plan, []keypackage.Claim, error) {
	view, err := c.read(ctx, reader)
	if err != nil {
		return nil, nil, err
	}
	open := slices.DeleteFunc(slices.Clone(reader.units), func(u Unit) bool { return answered(view.Claims, u) })
	if len(open) == 0 {
		return &Plan{}, view.Claims, nil
	}
	if limit := c.newestWanted(open, view); limit > 0 {
		if err := reader.readNewest(ctx, limit); err != nil {
			return nil, nil, err
		}
	}
	for {
		plan, err := decide(open, view, &reader.stock, c.settings.Limits, c.now())
		settled := false
		switch {
		case err == nil:
			settled, err = reader.settle(ctx, plan, hope)
		case errors.Is(err, errMoreStock):
			err = reader.readOldest(ctx)
		}
		if settled || err != nil {
			return plan, view.Claims, err
		}
	}
}

// newestWanted returns how many of the newest documents are needed as well: those from which the reserve is taken if the
// budget may not suffice, or a few in which an addressable package should be.
func (c *Claimer) newestWanted(units []Unit, view *View) int {
	switch {
	case wanted(units) > c.settings.OwnerBudgetPerHour-view.Owner.HandedOut.Count(c.now()):
		return newestLimit
	case slices.ContainsFunc(units, func(u Unit) bool { return u.Request.PreferAddressable }):
		return slotsLimit
	}
	return 0
}

// read reads the view and the first page of the stock, and counts the rest, at the same time: nearly every claim needs all.
func (c *Claimer) read(ctx context.Context, reader *stockReader) (view *View, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return reader.readOldest(ctx) })
	group.Go(func() error { return reader.count(ctx) })
	group.Go(func() (err error) {
		view, err = c.store.View(ctx, reader.owner, reader.units)
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

func answered(records []keypackage.Claim, u Unit) bool {
	return slices.ContainsFunc(records, func(r keypackage.Claim) bool { return answers(r, u) })
}

// answers reports whether the record is the unit's, or that of its whole request.
func answers(r keypackage.Claim, u Unit) bool {
	return r.RequestID == u.Request.ID && (r.Owner == u.Owner || r.Owner == "")
}

func inOrder(units []Unit, records []keypackage.Claim) []keypackage.Claim {
	ordered := make([]keypackage.Claim, len(units))
	for i, u := range units {
		ordered[i] = records[slices.IndexFunc(records, func(r keypackage.Claim) bool { return answers(r, u) })]
	}
	return ordered
}
