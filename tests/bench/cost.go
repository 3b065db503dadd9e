package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// costed is a system whose calls to Firestore are counted, with a clock of its own and one relay.
type costed struct {
	*bench
	db        *database
	meter     *meter
	later     time.Duration         // than now
	answer    keypackage.PushResult // of the relay
	claimer   *claiming.Claimer
	deliverer *delivering.Deliverer
	expirer   *expiring.Expirer
	idle      bill                             // of a tick
	messages  chan func(context.Context) error // to deliver
	posts     atomic.Int64                     // of this invocation
	before    atomic.Int64                     // round trips of this invocation before its message or push
}

func (b *bench) newCosted(ctx context.Context) (c *costed, err error) {
	c = &costed{bench: b, meter: newMeter(), answer: keypackage.ResultDelivered}
	c.messages = make(chan func(context.Context) error, 100) // one for each of a few requests
	if c.db, err = b.newDatabase(ctx, grpc.WithStatsHandler(c.meter)); err != nil {
		return nil, err
	}
	now := func() time.Time { return time.Now().Add(c.later) }
	c.claimer = c.db.claimer(announce(func(_ context.Context, a keypackage.Announcement) error {
		c.send(func(ctx context.Context) error { _, err := c.deliverer.ForRequest(ctx, a); return err })
		return nil
	}), now)
	c.deliverer = delivering.New(c.db.store(), answering(c.push), keypackage.ModeDeliver, now)
	settings := expiring.Settings{Mode: keypackage.ModeDeliver, RequestMaxAge: c.db.RequestMaxAge}
	c.expirer = expiring.New(c.db.store(), c, c, c, settings, now)
	return c, nil
}

// send keeps a message until it is delivered.
func (c *costed) send(message func(context.Context) error) {
	c.before.Store(c.meter.trips.Load()) // what is recorded afterwards keeps no requester waiting
	c.messages <- message
}

// push is told of a push.
func (c *costed) push() keypackage.PushResult {
	c.posts.Add(1)
	c.before.Store(c.meter.trips.Load())
	return c.answer
}

// Recover implements expiring.Claimer.
func (c *costed) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	_, err := c.claimer.Recover(ctx, doc)
	return err
}

// PublishRequesters implements expiring.Deliveries.
func (c *costed) PublishRequesters(_ context.Context, requesters []string) error {
	for _, r := range requesters {
		c.send(func(ctx context.Context) error { _, err := c.deliverer.ForRequester(ctx, r); return err })
	}
	return nil
}

// PublishNotices implements expiring.Notices.
func (c *costed) PublishNotices(context.Context, []keypackage.Notice) error { return nil }

// invoke adds one invocation of a function to a bill.
func (c *costed) invoke(into *bill, function func() error) error {
	c.meter.take() // what prepares it is not counted
	err := function()
	docs, trips := c.meter.take()
	trips = cmp.Or(c.before.Swap(0), trips)
	if into.invocations == 0 || trips < into.trips {
		into.trips = trips
	}
	into.add(bill{docs: docs, invocations: 1, posts: float64(c.posts.Swap(0))}, 1)
	return err
}

func (c *costed) claim(ctx context.Context, into *bill, request keypackage.RequestDocument) error {
	return c.invoke(into, func() error { _, err := c.claimer.Claim(ctx, request); return err })
}

// deliver delivers what was announced.
func (c *costed) deliver(ctx context.Context, into *bill) error {
	for len(c.messages) > 0 {
		if err := c.invoke(into, func() error { return (<-c.messages)(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// tick runs the scheduled function so many minutes from now, and delivers what it announces.
func (c *costed) tick(ctx context.Context, into *bill, minutes time.Duration) error {
	c.later += minutes * time.Minute
	if err := c.invoke(into, func() error { _, err := c.expirer.Run(ctx); return err }); err != nil {
		return err
	}
	return c.deliver(ctx, into)
}

// costBefore is what a request cost before it was looked at what decides: reads, writes, deletes, and 100,000 requests in USD,
// delivered and offline.
var costBefore = [5]float64{63, 8, 5, 2.66, 4.8}

// cost counts what Firestore charges for a request and for what may go otherwise, and names the promise behind each
// operation of a request.
func (b *bench) cost(ctx context.Context) error {
	c, err := b.newCosted(ctx)
	if err != nil {
		return err
	}
	defer c.db.drop(ctx)
	defer b.wire.set(0)
	// Calls then take about as long as each other, which counting those in a row needs.
	b.wire.set(20 * time.Millisecond)
	if err := errors.Join(c.tick(ctx, new(bill), 0), c.tick(ctx, &c.idle, 0)); err != nil { // the second finds all there
		return err
	}
	t := b.table("Cost, for a request for one package that is there",
		"reads", "writes", "deletes", "USD/100,000", "round trips", "invocations", "POSTs")
	t.note("As many requests of a stock of %d as an owner is asked for until she is told that it is low, which needs", packagesPerOwner)
	t.note("some counting; the other rows are of an owner's first request, less idle ticks. Deletes include those by TTL policies.")
	t.note("Round trips: calls to Firestore in a row before message or package leaves. USD: 0.03 R, 0.09 W, 0.01 D.")
	now, err := c.request(ctx, t)
	if err != nil {
		return err
	}
	names, untilOver := c.db.Collections, int(c.db.DeliveryTTL/time.Minute)+2
	lost := late{"request whose trigger was lost, delivered", false, c.answer, 1, names.Deliveries}
	away := late{"request, requester offline, then returned", true, keypackage.ResultNoSession, untilOver, names.KeyPackages}
	_, err = c.left(ctx, t, lost)
	offline, failed := c.left(ctx, t, away)
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	c.atMost("USD for 100,000 requests, requester offline", offline[3], 2)
	picture := b.table("What a request for one package costs", "before", "now")
	picture.file, picture.unit = "cost.svg", "documents, and US cents for 1,000 requests"
	for i, what := range []string{"reads", "writes", "deletes", "cents, delivered", "cents, offline"} {
		picture.add(what, costBefore[i], append(now[:], offline[3])[i])
	}
	c.row(t, "an idle tick of the scheduled function", c.idle, 1)
	return nil
}

// row adds a bill of n requests.
func (c *costed) row(t *table, name string, all bill, n int) [4]float64 {
	p := all.price(n, c.db.Collections)
	t.add(name, append(p[:], float64(all.trips), all.invocations/float64(n), all.posts/float64(n))...)
	return p
}

// request counts claim and push, and the same trigger again.
func (c *costed) request(ctx context.Context, t *table) (each [4]float64, err error) {
	requests, err := c.requests(ctx, c.db, c.sizes.costs, packagesPerOwner, packagesPerOwner-keypackage.LowStock)
	if err != nil {
		return each, err
	}
	var claim, push, again bill
	for _, request := range requests {
		once := errors.Join(c.claim(ctx, &claim, request), c.deliver(ctx, &push))
		if err := errors.Join(once, c.claim(ctx, &again, request), c.deliver(ctx, &again)); err != nil {
			return each, err
		}
	}
	n := len(requests)
	both := bill{trips: claim.trips + push.trips}
	both.add(claim, 1)
	both.add(push, 1)
	c.row(t, "claim", claim, n)
	c.row(t, "push", push, n)
	each = c.row(t, "request, delivered", both, n)
	repeated := c.row(t, "the same trigger again", again, n)
	c.atMost("reads of a request", each[0], 12)
	c.atMost("round trips in a row of a request", float64(both.trips), 7)
	c.atMost("USD for 100,000 requests, delivered", each[3], 1.1)
	c.atMost("reads of a repeated trigger", repeated[0], 3)
	why := c.table("What a request reads, writes and deletes, and why", "documents", "least possible")
	why.note("Least possible: nothing read twice, everything inside the transaction; then claims wait for each other.")
	claimReasons, pushReasons := reasons(c.db.Collections)
	unnamed := claim.explain(why, "claim", claimReasons, n) + push.explain(why, "deliver", pushReasons, n)
	c.atMost("Firestore operations that no promise needs", float64(unnamed), 0)
	return each, c.tick(ctx, new(bill), 0) // tells the owners, at nobody's expense
}

// late is requests whose way takes some minutes.
type late struct {
	name    string
	trigger bool                  // else it is lost
	answer  keypackage.PushResult // of the relay
	minutes int
	created string // the collection in which each then has a document
}

// left counts what requests for as many owners cost that are left to the scheduled function.
func (c *costed) left(ctx context.Context, t *table, l late) (each [4]float64, err error) {
	const n = 5
	requests, err := c.requests(ctx, c.db, n, packagesPerOwner, 1)
	if err != nil {
		return each, err
	}
	var all bill
	c.answer = l.answer
	for i := 0; l.trigger && i < n; i++ {
		if err := errors.Join(c.claim(ctx, &all, requests[i]), c.deliver(ctx, &all)); err != nil {
			return each, err
		}
	}
	for range l.minutes {
		if err := c.tick(ctx, &all, 1); err != nil {
			return each, err
		}
		all.add(c.idle, -1)
	}
	if done := all.docs[operation{create, l.created}]; done != n {
		return each, fmt.Errorf("%s: %v of %d", l.name, done, n)
	}
	return c.row(t, l.name, all, n), nil
}

// growth counts and times requests for owners whose stock is large.
func (b *bench) growth(ctx context.Context) error {
	t := b.table("A request, by the stock of the owner", "documents read", "claim, milliseconds")
	t.file, t.unit = "growth.svg", "documents read, and milliseconds"
	t.note("The emulator's queries look at every document of the collection, Firestore's only at those that they return.")
	b.wire.set(region)
	defer b.wire.set(0)
	for i, stock := range b.sizes.stocks {
		progress("stock of %d, %d of %d", stock, i+1, len(b.sizes.stocks))
		c, err := b.newCosted(ctx)
		if err != nil {
			return err
		}
		defer c.db.drop(ctx)
		requests, err := c.requests(ctx, c.db, 8, stock, 2)
		if err != nil {
			return err
		}
		var all bill
		claims := make(sample, len(requests))
		for i, request := range requests {
			claims[i], err = timed(func() error { return c.claim(ctx, &all, request) })
			if err := errors.Join(err, c.deliver(ctx, &all)); err != nil {
				return err
			}
		}
		t.add(fmt.Sprintf("stock of %d", stock), all.price(len(requests), c.db.Collections)[0], claims.quantile(0.5))
	}
	return nil
}
