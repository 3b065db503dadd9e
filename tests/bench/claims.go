package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// claims measures how many requests a second can be claimed: for many owners, and for one whom everybody wants, with and
// without combining.
func (b *bench) claims(ctx context.Context) error {
	t := b.report.table("claims", "Throughput of claims, one package each, from the request's document to its recorded outcome",
		"claims/s", "p50 ms", "p99 ms", "max ms", "lost races", "retried", "twice")
	t.note("Combining off: a Claimer for each request, as if each had an instance of its own. Lost races are commits that failed")
	t.note("because somebody was first; retried are invocations that gave up and were called again, as the platform would.")
	t.note("Twice are one-time packages that two requests got. Limits raised: %v.", raisedLimits)
	b.progress("claims for many owners")
	many, err := b.claimBurst(ctx, burst{owners: b.sizes.claims, requests: b.sizes.claims, atOnce: b.sizes.workers, combine: true})
	if err != nil {
		return err
	}
	many.report(t, fmt.Sprintf("%d owners, %d at a time", b.sizes.claims, b.sizes.workers))
	for _, n := range b.sizes.hot {
		var rates [2]float64
		for i, combine := range []bool{true, false} {
			b.progress("%d requests at once for one owner, combining %v", n, combine)
			got, err := b.claimBurst(ctx, burst{owners: 1, requests: n, atOnce: n, combine: combine})
			if err != nil {
				return err
			}
			rates[i] = got.report(t, fmt.Sprintf("1 owner, %d at once, combining %s", n, onOff(combine)))
		}
		if n == 200 {
			b.report.atLeast("hot owner, 200 at once: combining on / off", rates[0]/rates[1], 3)
		}
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// burst is a number of requests for some owners.
type burst struct {
	owners, requests, atOnce int
	combine                  bool
}

// burstResult is what a burst came to.
type burstResult struct {
	took    time.Duration
	each    sample
	lost    int64 // races
	retried int64
	twice   int
}

func (r burstResult) report(t *Table, name string) (perSecond float64) {
	perSecond = float64(len(r.each)) / r.took.Seconds()
	t.add(name, perSecond, r.each.quantile(0.5), r.each.quantile(0.99), r.each.quantile(1),
		float64(r.lost), float64(r.retried), float64(r.twice))
	return perSecond
}

func (b *bench) claimBurst(ctx context.Context, want burst) (burstResult, error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return burstResult{}, err
	}
	defer db.drop(ctx)
	// Every request is granted, and what is left keeps all of them in the usual case.
	owners, err := db.newOwners(ctx, want.owners, want.requests/want.owners+packagesPerOwner)
	if err != nil {
		return burstResult{}, err
	}
	requests, err := db.newRequests(ctx, want.requests, owners)
	if err != nil {
		return burstResult{}, err
	}
	store := &racing{Store: db.store()}
	shared := db.claimer(store)
	claimer := func() *claiming.Claimer { return shared }
	if !want.combine {
		claimer = func() *claiming.Claimer { return db.claimer(store) }
	}
	result := burstResult{each: make(sample, len(requests))}
	var retried atomic.Int64
	var group errgroup.Group
	group.SetLimit(want.atOnce)
	settle()
	result.took, err = timed(func() error {
		for i, request := range requests {
			group.Go(func() (err error) {
				result.each[i], err = timed(func() error { return takeUntilAnswered(ctx, claimer(), request, &retried) })
				return err
			})
		}
		return group.Wait()
	})
	if err != nil {
		return burstResult{}, err
	}
	result.lost, result.retried = store.lost.Load(), retried.Load()
	result.twice, err = db.handedOutTwice(ctx)
	return result, err
}

// claimer returns a Claimer that publishes nothing.
func (db *database) claimer(store claiming.Store) *claiming.Claimer {
	return db.claimerTo(store, mute{})
}

func (db *database) claimerTo(store claiming.Store, publisher claiming.Publisher) *claiming.Claimer {
	return claiming.New(store, publisher, claiming.Settings{
		Limits: claiming.Limits{
			DeliveryTTL: db.DeliveryTTL, PairLimitPerHour: db.PairLimitPerHour, OwnerBudgetPerHour: db.OwnerBudgetPerHour,
		},
		Mode: keypackage.ModeDeliver, MaxPerOwner: db.MaxPerOwner, RequestMaxAge: db.RequestMaxAge,
	}, time.Now)
}

// mute publishes nothing.
type mute struct{}

// PublishRequest implements claiming.Publisher.
func (mute) PublishRequest(context.Context, keypackage.Announcement) error { return nil }

// racing counts lost races.
type racing struct {
	claiming.Store
	lost atomic.Int64
}

// Commit implements claiming.Store.
func (r *racing) Commit(ctx context.Context, plan *claiming.Plan) error {
	err := r.Store.Commit(ctx, plan)
	if errors.Is(err, keypackage.ErrConflict) {
		r.lost.Add(1)
	}
	return err
}

// takeUntilAnswered does what the platform does with an event: it brings it again until it is acknowledged.
func takeUntilAnswered(
	ctx context.Context, claimer *claiming.Claimer, request keypackage.RequestDocument, retried *atomic.Int64,
) error {
	for {
		result, err := claimer.Claim(ctx, request)
		switch {
		case err == nil && result.Granted == 1:
			return nil
		case err == nil:
			return fmt.Errorf("a request was answered %s (%s) with %d packages", result.Outcome, result.Reason, result.Granted)
		case ctx.Err() != nil:
			return err
		}
		retried.Add(1)
	}
}

// handedOutTwice counts one-time packages with more than one delivery.
func (db *database) handedOutTwice(ctx context.Context) (int, error) {
	snaps, err := db.client.Collection(db.Collections.Deliveries).Documents(ctx).GetAll()
	if err != nil {
		return 0, err
	}
	deliveries := make(map[string]int)
	twice := 0
	for _, snap := range snaps {
		var d keypackage.Delivery
		if err := snap.DataTo(&d); err != nil {
			return 0, err
		}
		if deliveries[d.PackageID]++; deliveries[d.PackageID] == 2 && !d.Reserve {
			twice++
		}
	}
	return twice, nil
}
