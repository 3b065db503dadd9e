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
	t := b.table("Throughput of claims, one package each, from the request's document to its recorded outcome",
		"claims/s", "p50 ms", "p99 ms", "max ms", "lost races", "retried")
	t.note("Instances have connections of their own. Lost races are commits that failed because somebody was first; retried are")
	t.note("invocations that gave up and were called again, as the platform would. Limits raised: %v.", raisedLimits)
	return b.atEachDistance(func(distance string) error {
		name := fmt.Sprintf("%s, %d owners, %d at a time", distance, b.sizes.claims, b.sizes.workers)
		if _, err := b.burst(ctx, t, name, burst{b.sizes.claims, b.sizes.claims, b.sizes.workers, 1}); err != nil {
			return err
		}
		var one, most sample
		var err error
		hottest := b.sizes.hot[len(b.sizes.hot)-1]
		for _, n := range b.sizes.hot {
			if one, err = b.burst(ctx, t, fmt.Sprintf("%s, 1 owner, %d at once", distance, n), burst{1, n, n, 1}); err != nil {
				return err
			}
		}
		for _, instances := range b.sizes.instances {
			name := fmt.Sprintf("%s, 1 owner, %d at once, %d instances", distance, hottest, instances)
			if most, err = b.burst(ctx, t, name, burst{1, hottest, hottest, instances}); err != nil {
				return err
			}
			b.atMost(name+": slowest, over that at 1", most.quantile(1)/one.quantile(1), waitsAtMost)
		}
		return nil
	})
}

// burst is a number of requests for some owners.
type burst struct{ owners, requests, atOnce, instances int }

// burst makes one, and returns how long each request took.
func (b *bench) burst(ctx context.Context, t *table, name string, want burst) (sample, error) {
	progress("%s", name)
	db, requests, err := b.claimable(ctx, want.owners, want.requests)
	if err != nil {
		return nil, err
	}
	defer db.drop(ctx)
	var lost, retried atomic.Int64
	claimers := make([]*claiming.Claimer, want.instances)
	for i := range claimers {
		instance, err := openDatabase(ctx, db.Project)
		if err != nil {
			return nil, err
		}
		defer instance.client.Close()
		claimers[i] = db.claimer(&racing{instance.store(), &lost}, mute{}, time.Now)
	}
	each := make(sample, len(requests))
	var group errgroup.Group
	group.SetLimit(want.atOnce)
	settle()
	took, err := timed(func() error {
		for i, request := range requests {
			group.Go(func() (err error) {
				claimer := claimers[i%len(claimers)]
				each[i], err = timed(func() error { return claimUntilAnswered(ctx, claimer, request, &retried) })
				return err
			})
		}
		return group.Wait()
	})
	t.add(name, float64(len(requests))/took.Seconds(), each.quantile(0.5), each.quantile(0.99), each.quantile(1),
		float64(lost.Load()), float64(retried.Load()))
	return each, err
}

// spare is how many packages are left to each owner, so that no claim ends near the last.
const spare = 6

// claimable prepares a database in which every request is granted.
func (b *bench) claimable(ctx context.Context, owners, n int) (db *database, requests []keypackage.RequestDocument, err error) {
	err = b.wire.without(func() error {
		if db, err = newDatabase(ctx); err != nil {
			return err
		}
		keys, err := db.newOwners(ctx, owners, n/owners+spare)
		if err == nil {
			requests, err = db.newRequests(ctx, n, keys)
		}
		return err
	})
	return db, requests, err
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
