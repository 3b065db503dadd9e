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

// waitsAtMost is how much longer a request for a hot owner may wait at several instances than the slowest at one.
const waitsAtMost = 3

// claims measures how many requests a second can be claimed: for many owners, and for one whom everybody wants, at one
// instance and at several, which know nothing of each other.
func (b *bench) claims(ctx context.Context) error {
	t := b.report.table("Throughput of claims, one package each, from the request's document to its recorded outcome",
		"claims/s", "p50 ms", "p99 ms", "max ms", "lost races", "retried")
	t.note("Instances have connections of their own. Lost races are commits that failed because somebody was first; retried are")
	t.note("invocations that gave up and were called again, as the platform would. Limits raised: %v.", raisedLimits)
	return b.atEachDistance(func(distance string) error {
		many := burst{owners: b.sizes.claims, requests: b.sizes.claims, atOnce: b.sizes.workers, instances: 1}
		if _, err := b.claimBurst(ctx, t, fmt.Sprintf("%s, %d owners, %d at a time", distance, many.owners, many.atOnce), many); err != nil {
			return err
		}
		one := 0.0 // how long the slowest waits at one instance
		for _, n := range b.sizes.hot {
			got, err := b.claimBurst(ctx, t, fmt.Sprintf("%s, 1 owner, %d at once", distance, n), burst{1, n, n, 1})
			if err != nil {
				return err
			}
			one = got.each.quantile(1)
		}
		n := b.sizes.hot[len(b.sizes.hot)-1]
		for _, instances := range b.sizes.instances {
			name := fmt.Sprintf("%s, 1 owner, %d at once, %d instances", distance, n, instances)
			got, err := b.claimBurst(ctx, t, name, burst{1, n, n, instances})
			if err != nil {
				return err
			}
			b.report.atMost(name+": slowest, over that at 1", got.each.quantile(1)/one, waitsAtMost)
		}
		return nil
	})
}

// burst is a number of requests for some owners.
type burst struct{ owners, requests, atOnce, instances int }

// burstResult is what a burst came to.
type burstResult struct {
	each          sample
	lost, retried int64
}

func (b *bench) claimBurst(ctx context.Context, t *Table, name string, want burst) (result burstResult, err error) {
	b.progress("%s", name)
	db, requests, err := b.claimable(ctx, want)
	if err != nil {
		return result, err
	}
	defer db.drop(ctx)
	var lost, retried atomic.Int64
	claimers := make([]*claiming.Claimer, want.instances)
	for i := range claimers {
		instance, err := openDatabase(ctx, db.Project)
		if err != nil {
			return result, err
		}
		defer instance.client.Close()
		claimers[i] = db.claimer(&racing{instance.store(), &lost}, mute{}, time.Now)
	}
	result.each = make(sample, len(requests))
	var group errgroup.Group
	group.SetLimit(want.atOnce)
	settle()
	took, err := timed(func() error {
		for i, request := range requests {
			group.Go(func() (err error) {
				result.each[i], err = timed(func() error {
					return claimUntilAnswered(ctx, claimers[i%len(claimers)], request, &retried)
				})
				return err
			})
		}
		return group.Wait()
	})
	result.lost, result.retried = lost.Load(), retried.Load()
	t.add(name, float64(len(requests))/took.Seconds(), result.each.quantile(0.5), result.each.quantile(0.99),
		result.each.quantile(1), float64(result.lost), float64(result.retried))
	return result, err
}

// claimable prepares a database in which every request is granted, and what is left keeps all of them in the usual case.
func (b *bench) claimable(ctx context.Context, want burst) (db *database, requests []keypackage.RequestDocument, err error) {
	err = b.wire.without(func() error {
		if db, err = newDatabase(ctx); err != nil {
			return err
		}
		owners, err := db.newOwners(ctx, want.owners, want.requests/want.owners+packagesPerOwner)
		if err == nil {
			requests, err = db.newRequests(ctx, want.requests, owners)
		}
		return err
	})
	return db, requests, err
}

func (db *database) claimer(store claiming.Store, publisher claiming.Publisher, now func() time.Time) *claiming.Claimer {
	return claiming.New(store, publisher, claiming.Settings{
		Limits: claiming.Limits{
			DeliveryTTL: db.DeliveryTTL, PairLimitPerHour: db.PairLimitPerHour, OwnerBudgetPerHour: db.OwnerBudgetPerHour,
		},
		Mode: keypackage.ModeDeliver, MaxPerOwner: db.MaxPerOwner, RequestMaxAge: db.RequestMaxAge,
	}, now)
}

// mute publishes nothing.
type mute struct{}

// PublishRequest implements claiming.Publisher.
func (mute) PublishRequest(context.Context, keypackage.Announcement) error { return nil }

// racing counts lost races.
type racing struct {
	claiming.Store
	lost *atomic.Int64
}

// Commit implements claiming.Store.
func (r *racing) Commit(ctx context.Context, plan *claiming.Plan) error {
	err := r.Store.Commit(ctx, plan)
	if errors.Is(err, keypackage.ErrConflict) {
		r.lost.Add(1)
	}
	return err
}

// claimUntilAnswered does what the platform does with an event: it brings it again until it is acknowledged.
func claimUntilAnswered(
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
