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

// unitAnswer is what a unit is given: its claim, or the dismissal of its whole request. created are the deliveries of its own
// transaction; found says that it was recorded already, be it by a commit of its own that ended unclear.
type unitAnswer struct {
	claim     keypackage.Claim
	dismissal *keypackage.Dismissal // nil if there is a claim
	created   []*keypackage.Delivery
	found     bool
}

// answerOwner answers units of one owner in one transaction, see answerAll. A lost race is decided anew, together with those who came
// meanwhile. That a unit was answered before shows only then, since a commit creates its claim; and what ended unclear may have been
// committed.
func (c *Claimer) answerOwner(ctx context.Context, owner string, units []Unit, more func() []Unit) (map[string]unitAnswer, error) {
	answers := make(map[string]unitAnswer)
	err := contend(ctx, func(attempt int) (again bool, err error) {
		if attempt > 1 {
			units = more()
			c.findRecorded(ctx, units, answers)
		}
		open := slices.DeleteFunc(slices.Clone(units), func(u Unit) bool { return answers[u.ClaimID()].found })
		plan, err := c.attempt(ctx, owner, open, attempt == 1)
		if err != nil {
			err = fmt.Errorf("claim, attempt %d: %w", attempt, err)
			// Lost races are over as soon as they are lost; other failures are not, and a document that cannot be read stays so.
			mayPass := attempt < transientAttempts && !errors.Is(err, keypackage.ErrUnreadable)
			return mayPass || errors.Is(err, keypackage.ErrConflict), err
		}
		for i, u := range open {
			ofOthers := func(d *keypackage.Delivery) bool { return d.RequestID != u.Request.ID }
			answers[u.ClaimID()] = unitAnswer{claim: plan.Answers[i], created: slices.DeleteFunc(slices.Clone(plan.Created), ofOthers)}
		}
		return false, nil
	})
	if err != nil {
		return nil, fault.Retryable("claim_failed", err)
	}
	return answers, nil
}

// findRecorded adds what is recorded of the units: their claims, or the dismissals of their requests.
func (c *Claimer) findRecorded(ctx context.Context, units []Unit, answers map[string]unitAnswer) {
	var ids []string
	for _, u := range units {
		ids = append(ids, u.ClaimID(), keypackage.DismissalID(u.Request.ID))
	}
	slices.Sort(ids)
	recorded, err := c.store.Answers(ctx, slices.Compact(ids))
	if err != nil {
		return // it may yet be found
	}
	for _, u := range units {
		answer := recorded[u.Request.ID]
		if claim, answered := answer.Claim(u.Owner); answered || answer.Dismissal != nil {
			answers[u.ClaimID()] = unitAnswer{claim: claim, dismissal: answer.Dismissal, found: true}
		}
	}
}

// attempt decides and commits once. With hope it leaves to the commit what a look at the ledger would have told before. Nothing is
// written before the documents of all requests are stored, which takes as long as what was read meanwhile. One that fails fails all:
// then hardly any other commit succeeds.
func (c *Claimer) attempt(ctx context.Context, owner string, units []Unit, hope bool) (*Plan, error) {
	if len(units) == 0 {
		return &Plan{}, nil
	}
	reader := newStockReader(c.store, owner, units)
	plan, err := c.plan(ctx, reader, hope)
	for _, u := range units {
		if err == nil && u.Stored != nil {
			err = u.Stored()
		}
	}
	if err == nil && plan.writes() {
		err = c.store.Commit(ctx, plan)
	}
	if err != nil {
		reader.giveBack()
		return nil, err
	}
	return plan, nil
}

// plan decides the units of a reader.
func (c *Claimer) plan(ctx context.Context, reader *stockReader, hope bool) (*Plan, error) {
	view, err := c.read(ctx, reader)
	if err != nil {
		return nil, err
	}
	limit := c.newestWanted(reader.units, view)
	if !hope && !reader.complete { // others want the oldest, too: what stays behind is to be one that they do not take
		limit = max(limit, 1)
	}
	if limit > 0 {
		if err := reader.readNewest(ctx, limit); err != nil {
			return nil, err
		}
	}
	for {
		plan, err := decide(reader.units, view, &reader.stock, c.settings.Limits, c.now())
		settled := false
		switch {
		case err == nil:
			settled, err = reader.settle(ctx, plan, hope)
		case errors.Is(err, errMoreStock):
			err = reader.readOldest(ctx)
		case errors.Is(err, errNotCounted):
			err = reader.count(ctx)
		}
		if settled || err != nil {
			return plan, err
		}
	}
}

// newestWanted returns how many of the newest documents are needed as well: those from which the reserve is taken if the
// budget may not suffice, or a few in which an addressable package should be.
func (c *Claimer) newestWanted(units []Unit, view *View) int {
	overLimit := func(u Unit) bool { // see fillREQ
		return u.Request.REQ && view.Pairs[u.Request.Requester].Requests.Count(c.now()) >= c.settings.PairLimitPerHour
	}
	switch {
	case wanted(units) > c.settings.OwnerBudgetPerHour-view.Owner.HandedOut.Count(c.now()), slices.ContainsFunc(units, overLimit):
		return keypackage.NewestLimit
	case slices.ContainsFunc(units, func(u Unit) bool { return u.Request.PreferAddressable }):
		return slotsLimit
	}
	return 0
}

// read reads the view and the first page of the stock at the same time: nearly every claim needs both.
func (c *Claimer) read(ctx context.Context, reader *stockReader) (view *View, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return reader.readOldest(ctx) })
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

// Attempts against a store or a publisher that fails for a moment. A nack costs seconds, a second try milliseconds.
const (
	transientAttempts = 3
	transientPause    = 100 * time.Millisecond
	longestBackoff    = 500 * time.Millisecond
	commitAttempts    = 16 // lost races before the event is handed back to the platform
)

// retryTransient repeats do while it fails for a reason that may pass. A lost race does not pass by itself.
func retryTransient(ctx context.Context, do func() error) error {
	return retry.Do(ctx, retry.Doubling(transientPause, time.Second), func(attempt int) (bool, error) {
		err := do()
		passes := err != nil && fault.IsRetryable(err) && !errors.Is(err, keypackage.ErrConflict)
		return passes && attempt < transientAttempts, err
	})
}

// contend repeats try while it asks for another attempt, at most commitAttempts times. The pauses are random, so that losers of the
// same race do not meet again, and in proportion to what the attempt took, which is long where many instances want the same
// owner. The first are the longest: then most of the others are still there, and whoever has lost often should not wait on.
func contend(ctx context.Context, try func(attempt int) (again bool, err error)) error {
	var begun time.Time
	pauses := func(attempt int) time.Duration {
		most := max(time.Since(begun), 10*time.Millisecond) * time.Duration(max(4-attempt, 1))
		return rand.N(min(most, longestBackoff))
	}
	return retry.Do(ctx, pauses, func(attempt int) (bool, error) {
		begun = time.Now()
		again, err := try(attempt)
		return again && attempt < commitAttempts, err
	})
}
