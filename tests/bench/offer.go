package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	waitsAtMost = 3   // times as long as the slowest at one instance, for a request for a hot owner at several
	kept        = 0.9 // the share of a rate below which it counts as not kept
	spare       = 6   // packages that are left to each owner, so that no claim ends near the last
)

// claims measures how many requests a second can be claimed: for many owners, and for one whom everybody wants, at one
// instance and at several, which know nothing of each other.
func (b *bench) claims(ctx context.Context) {
	t := b.table("Throughput of claims, one package each, from the request's document to its recorded outcome", offeredColumns...)
	t.note("Instances have connections of their own. An invocation that gives up is called again, as the platform would.")
	for _, rtt := range b.sizes.distances {
		b.wire.set(rtt)
		var one sample
		for _, o := range b.sizes.claims {
			name := fmt.Sprintf("RTT %v, owners %d, at once %d, instances %d", rtt, o.owners, o.atOnce, o.instances)
			_, took := b.offer(ctx, t, name, o, 0)
			if o.instances == 1 {
				one = took
			} else {
				b.atMost(name+": slowest, over that at 1", took.quantile(1)/one.quantile(1), waitsAtMost)
			}
		}
	}
}

// load offers one instance requests at a rate, whatever becomes of them, and doubles the rate until it is not kept.
func (b *bench) load(ctx context.Context) {
	t := b.table("Open loop: claim and push at a rate, one package each, a relay that answers at once", offeredColumns...)
	t.note("Each for another owner and requester. Times count from when a request was due, not from when its turn came.")
	t.note("Message and trigger are left out: the Pub/Sub emulator's two pushes at a time would be all that is seen.")
	for _, rtt := range b.sizes.distances {
		b.wire.set(rtt)
		for rate, saturated := b.sizes.rate, false; !saturated; rate *= 2 {
			n := int(float64(rate) * b.sizes.offered.Seconds())
			served, _ := b.offer(ctx, t, fmt.Sprintf("RTT %v, %d a second", rtt, rate), offered{n, 1, -1, 1}, rate)
			saturated = served < kept*float64(rate)
		}
	}
}

// offered is so many requests for each of some owners, claimed by instances in turn, so many at once (-1: any number).
type offered struct{ owners, each, atOnce, instances int }

var offeredColumns = append([]string{"served/s"}, quantiles...)

// offer has requests claimed as fast as it can be, or at a rate, and then pushed, too. It adds to a table how many a second were
// served and what each took, and returns that.
func (b *bench) offer(ctx context.Context, t *table, name string, o offered, rate int) (served float64, took sample) {
	progress("%s", name)
	db := b.open("")
	defer db.drop(ctx)
	_, requests := db.populate(ctx, o.owners, o.each+spare, o.each)
	claimers := make([]*claiming.Claimer, o.instances)
	for i := range claimers {
		instance := b.open(db.Project)
		defer instance.client.Close()
		publish := announce(func(context.Context, keypackage.Announcement) error { return nil })
		if rate > 0 {
			publish = instance.pushing()
		}
		claimers[i] = instance.claimer(publish, time.Now)
	}
	took, lasted := b.drive(ctx, len(requests), o.atOnce, rate, func(ctx context.Context, i int, due time.Time) (time.Duration, error) {
		err := claimUntilAnswered(ctx, claimers[i%len(claimers)], requests[i])
		return time.Since(due), err
	})
	served = float64(len(requests)) / lasted.Seconds()
	t.add(name, append([]float64{served}, took.row()...)...)
	return served, took
}

// drive calls f n times, so many at once (-1: any number), and returns what it says each took, and how long all lasted. Calls are
// due when it is their turn or, at a rate, so many a second.
func (b *bench) drive(
	ctx context.Context, n, atOnce, rate int, f func(ctx context.Context, i int, due time.Time) (time.Duration, error),
) (each sample, lasted time.Duration) {
	runtime.GC() // the garbage is not that of what is measured
	each = make(sample, n)
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		var due time.Time
		if rate > 0 {
			due = begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(due))
		}
		group.Go(func() (err error) {
			each[i], err = f(ctx, i, cmp.Or(due, time.Now()))
			return err
		})
	}
	b.must(group.Wait())
	return each, time.Since(begun)
}

// claimUntilAnswered does what the platform does with an event: it brings it again until it is acknowledged.
func claimUntilAnswered(ctx context.Context, claimer *claiming.Claimer, request keypackage.RequestDocument) error {
	for {
		result, err := claimer.Claim(ctx, request)
		if err == nil && result.Granted != 1 {
			return fmt.Errorf("a request was answered %s (%s) with %d packages", result.Outcome, result.Reason, result.Granted)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// pushing pushes what is announced, without a message.
func (db *database) pushing() announce {
	delivered := func() keypackage.PushResult { return keypackage.ResultDelivered }
	deliverer := delivering.New(db.store(), answering(delivered), keypackage.ModeDeliver, time.Now)
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
