package main

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// waitsAtMost is how much longer a request for a hot owner may wait at several instances than the slowest at one.
const waitsAtMost = 3

// claims measures how many requests a second can be claimed: for many owners, and for one whom everybody wants, at one
// instance and at several, which know nothing of each other.
func (b *bench) claims(ctx context.Context) error {
	t := b.table("Throughput of claims, one package each, from the request's document to its recorded outcome", offeredColumns...)
	t.note("Instances have connections of their own. Retried are invocations that gave up and were called again, as the platform")
	t.note("would. Limits raised: %v.", raisedLimits)
	return b.atEachDistance(func(distance string) error {
		name := fmt.Sprintf("%s, %d owners, %d at a time", distance, b.sizes.claims, b.sizes.workers)
		if _, err := b.offer(ctx, t, name, offered{owners: b.sizes.claims, requests: b.sizes.claims, atOnce: b.sizes.workers}); err != nil {
			return err
		}
		var one served
		var err error
		for _, n := range b.sizes.hot {
			if one, err = b.offer(ctx, t, fmt.Sprintf("%s, 1 owner, %d at once", distance, n), offered{requests: n, atOnce: n}); err != nil {
				return err
			}
		}
		n := len(one.each)
		for _, instances := range b.sizes.instances {
			name := fmt.Sprintf("%s, 1 owner, %d at once, %d instances", distance, n, instances)
			several, err := b.offer(ctx, t, name, offered{requests: n, atOnce: n, instances: instances})
			if err != nil {
				return err
			}
			b.atMost(name+": slowest, over that at 1", several.each.quantile(1)/one.each.quantile(1), waitsAtMost)
		}
		return nil
	})
}

// kept is the share of a rate below which it counts as not kept.
const kept = 0.9

// load offers one instance requests at a rate, whatever becomes of them, and doubles the rate until it is not kept.
func (b *bench) load(ctx context.Context) error {
	t := b.table("Open loop: claim and push at a rate, one package each, a relay that answers at once", offeredColumns...)
	t.note("Each for another owner and requester. Times count from when a request was due, not from when its turn came. Message and")
	t.note("trigger are left out: the Pub/Sub emulator's two pushes at a time would be all that is seen. The emulator takes most of the CPU.")
	return b.atEachDistance(func(distance string) error {
		for rate, saturated := b.sizes.rate, false; !saturated; rate *= 2 {
			n := int(float64(rate) * b.sizes.offered.Seconds())
			name := fmt.Sprintf("%s, %d a second", distance, rate)
			s, err := b.offer(ctx, t, name, offered{owners: n, requests: n, atOnce: -1, rate: rate, pushed: true})
			if err != nil {
				return err
			}
			saturated = s.rate < kept*float64(rate)
		}
		return nil
	})
}

// atEachDistance runs a measurement once for each round-trip time.
func (b *bench) atEachDistance(measure func(distance string) error) error {
	defer b.wire.set(0)
	for _, rtt := range b.sizes.distances {
		b.wire.set(rtt)
		if err := measure(fmt.Sprintf("RTT %v", rtt)); err != nil {
			return err
		}
	}
	return nil
}

// offered is requests for some owners (at least one), claimed by instances (at least one) in turn, so many at once (-1: any number), at
// so many a second (0: as fast as they can), and pushed if that is asked for.
type offered struct {
	owners, requests, atOnce, instances, rate int
	pushed                                    bool
}

// served is what became of them: how long each took, and how many were served in a second.
type served struct {
	each sample
	rate float64
}

var offeredColumns = []string{"served/s", "p50 ms", "p99 ms", "max ms", "retried"}

// spare is how many packages are left to each owner, so that no claim ends near the last.
const spare = 6

// offer has requests claimed and adds what that took to a table.
func (b *bench) offer(ctx context.Context, t *table, name string, want offered) (s served, err error) {
	progress("%s", name)
	db, err := b.newDatabase(ctx)
	if err != nil {
		return s, err
	}
	defer db.drop(ctx)
	want.owners = max(want.owners, 1)
	requests, err := b.requests(ctx, db, want.owners, want.requests/want.owners+spare, want.requests)
	if err != nil {
		return s, err
	}
	claimers := make([]*claiming.Claimer, max(want.instances, 1))
	for i := range claimers {
		instance, err := b.openDatabase(ctx, db.Project)
		if err != nil {
			return s, err
		}
		defer instance.client.Close()
		publish := announce(func(context.Context, keypackage.Announcement) error { return nil })
		if want.pushed {
			publish = instance.pushing()
		}
		claimers[i] = instance.claimer(publish, time.Now)
	}
	s.each = make(sample, len(requests))
	var retried atomic.Int64
	var group errgroup.Group
	group.SetLimit(want.atOnce)
	runtime.GC() // the garbage is not that of what is measured
	begun := time.Now()
	for i, request := range requests {
		due := time.Now()
		if want.rate > 0 {
			due = begun.Add(time.Duration(i) * time.Second / time.Duration(want.rate))
			time.Sleep(time.Until(due))
		}
		group.Go(func() error {
			if want.rate == 0 {
				due = time.Now()
			}
			err := claimUntilAnswered(ctx, claimers[i%len(claimers)], request, &retried)
			s.each[i] = time.Since(due)
			return err
		})
	}
	err = group.Wait()
	s.rate = float64(len(requests)) / time.Since(begun).Seconds()
	t.add(name, s.rate, s.each.quantile(0.5), s.each.quantile(0.99), s.each.quantile(1), float64(retried.Load()))
	return s, err
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

// pushing pushes what is announced, without a message.
func (db *database) pushing() announce {
	relay := answering(func() keypackage.PushResult { return keypackage.ResultDelivered })
	deliverer := delivering.New(db.store(), relay, keypackage.ModeDeliver, time.Now)
	return func(ctx context.Context, a keypackage.Announcement) error {
		result, err := deliverer.ForRequest(ctx, a)
		if err == nil && result.Delivered != 1 {
			err = fmt.Errorf("%d packages were delivered instead of one", result.Delivered)
		}
		return err
	}
}

// announce is what is done with what a claim announces.
type announce func(context.Context, keypackage.Announcement) error

// PublishRequest implements claiming.Publisher.
func (f announce) PublishRequest(ctx context.Context, a keypackage.Announcement) error {
	return f(ctx, a)
}

// answering is a relay that answers each delivery of a push alike.
type answering func() keypackage.PushResult

// Push implements delivering.Relay.
func (f answering) Push(_ context.Context, push delivering.Push) delivering.Results {
	result, each := f(), make(map[string]keypackage.PushResult, len(push.Deliveries))
	for _, d := range push.Deliveries {
		each[d.ID] = result
	}
	return delivering.Results{Each: each}
}
