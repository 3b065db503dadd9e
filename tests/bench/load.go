package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// kept is the share of a rate below which it counts as not kept.
const kept = 0.9

// load offers one instance requests at a rate, whatever becomes of them, and doubles the rate until it is not kept.
func (b *bench) load(ctx context.Context) error {
	t := b.table("Open loop: claim and push at a rate, one package each, a relay that answers at once",
		"offered/s", "served/s", "p50 ms", "p99 ms", "max ms")
	t.note("Each for another owner and requester. Times count from when a request was due, not from when its turn came. Message and")
	t.note("trigger are left out: the Pub/Sub emulator's two pushes at a time would be all that is seen. The emulator takes most of the CPU.")
	return b.atEachDistance(func(distance string) error {
		for rate, saturated := b.sizes.rate, false; !saturated; rate *= 2 {
			progress("%s, %d requests a second", distance, rate)
			each, served, err := b.offer(ctx, rate)
			if err != nil {
				return err
			}
			t.add(distance, float64(rate), served, each.quantile(0.5), each.quantile(0.99), each.quantile(1))
			saturated = served < kept*float64(rate)
		}
		return nil
	})
}

// offer makes requests at that many a second and returns what each took, and how many a second were served.
func (b *bench) offer(ctx context.Context, rate int) (sample, float64, error) {
	n := int(float64(rate) * b.sizes.offered.Seconds())
	db, requests, err := b.claimable(ctx, n, n)
	if err != nil {
		return nil, 0, err
	}
	defer db.drop(ctx)
	pushed := direct{delivering.New(db.store(), &answering{result: keypackage.ResultDelivered}, keypackage.ModeDeliver, time.Now)}
	claimer := db.claimer(db.store(), pushed, time.Now)
	each := make(sample, n)
	var retried atomic.Int64
	var group errgroup.Group
	settle()
	begun := time.Now()
	for i, request := range requests {
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		group.Go(func() error {
			err := claimUntilAnswered(ctx, claimer, request, &retried)
			each[i] = time.Since(due)
			return err
		})
	}
	err = group.Wait()
	return each, float64(n) / time.Since(begun).Seconds(), err
}

// direct pushes what was claimed without a message.
type direct struct{ deliverer *delivering.Deliverer }

// PublishRequest implements claiming.Publisher.
func (d direct) PublishRequest(ctx context.Context, a keypackage.Announcement) error {
	result, err := d.deliverer.ForRequest(ctx, a)
	if err == nil && result.Delivered != 1 {
		err = fmt.Errorf("%d packages were delivered instead of one", result.Delivered)
	}
	return err
}

// answering is a relay that gives one answer to everything. Safe for concurrent use, unless the answer is changed.
type answering struct {
	result keypackage.PushResult
	asked  func() // may be nil
	pushes atomic.Int64
}

// Push implements delivering.Relay.
func (a *answering) Push(_ context.Context, push delivering.Push) delivering.Results {
	a.pushes.Add(1)
	if a.asked != nil {
		a.asked()
	}
	results := make(map[string]keypackage.PushResult, len(push.Deliveries))
	for _, d := range push.Deliveries {
		results[d.ID] = a.result
	}
	return delivering.Results{Each: results}
}
