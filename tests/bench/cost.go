package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// costed is a system whose calls to Firestore are counted, with a clock of its own and one relay.
type costed struct {
	*database
	meter     meter
	later     time.Duration         // than now
	answer    keypackage.PushResult // of the relay
	claimer   *claiming.Claimer
	deliverer *delivering.Deliverer
	expirer   *expiring.Expirer
	messages  chan func(context.Context) error // to deliver
	idle      bill                             // of a tick
}

func (b *bench) newCosted() *costed {
	c := &costed{answer: keypackage.ResultDelivered, messages: make(chan func(context.Context) error, 100)} // of a few requests
	c.database = b.open("", grpc.WithStatsHandler(&c.meter))
	now := func() time.Time { return time.Now().Add(c.later) }
	c.claimer = c.database.claimer(func(_ context.Context, a keypackage.Announcement) error {
		c.send(func(ctx context.Context) error { _, err := c.deliverer.ForRequest(ctx, a); return err })
		return nil
	}, now)
	relay := answering(func() keypackage.PushResult { c.meter.leave(1); return c.answer })
	c.deliverer = delivering.New(c.store(), relay, keypackage.ModeDeliver, now)
	settings := expiring.Settings{Mode: keypackage.ModeDeliver, RequestMaxAge: c.RequestMaxAge}
	c.expirer = expiring.New(c.store(), c, c, c, settings, now)
	return c
}

// send keeps a message until it is delivered.
func (c *costed) send(message func(context.Context) error) {
	c.meter.leave(0)
	c.messages <- message
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
func (c *costed) invoke(into *bill, function func() error) {
	c.meter.take() // what prepares it is not counted
	c.must(function())
	one := c.meter.take()
	if into.counts[invocation] == 0 || one.trips < into.trips {
		into.trips = one.trips
	}
	into.count(invocation, 1)
	into.add(one, 1)
}

// deliver delivers what was announced.
func (c *costed) deliver(ctx context.Context, into *bill) {
	for len(c.messages) > 0 {
		c.invoke(into, func() error { return (<-c.messages)(ctx) })
	}
}

// serve has requests claimed and pushed, and returns what each claim took.
func (c *costed) serve(ctx context.Context, requests []keypackage.RequestDocument, claim, push *bill) (claims sample) {
	for _, request := range requests {
		begun := time.Now()
		c.invoke(claim, func() error { _, err := c.claimer.Claim(ctx, request); return err })
		claims = append(claims, time.Since(begun))
		c.deliver(ctx, push)
	}
	return claims
}

// tick runs the scheduled function so many minutes from now, and delivers what it announces.
func (c *costed) tick(ctx context.Context, into *bill, minutes time.Duration) {
	c.later += minutes * time.Minute
	c.invoke(into, func() error { _, err := c.expirer.Run(ctx); return err })
	c.deliver(ctx, into)
}

// row is what each of n requests cost. Deletes include what TTL policies will remove: what was created of ours, and the requests,
// which have their time from the outcome.
func (c *costed) row(all bill, n int) []float64 {
	expiring := []string{c.Collections.Claims, c.Collections.Deliveries, c.Collections.Ledger, c.Collections.Pairs}
	row := []float64{trips: float64(all.trips), posts: 0}
	for op, count := range all.counts {
		row[op.column] += count / float64(n)
		if op.kind == create && slices.Contains(expiring, op.collection) || op == (operation{update, c.Collections.Requests}) {
			row[deletes] += count / float64(n)
		}
	}
	row[usd] = 0.03*row[reads] + 0.09*row[writes] + 0.01*row[deletes]
	return row
}

// cost counts what Firestore charges for a request and for what may go otherwise, and names the promise behind each operation.
func (b *bench) cost(ctx context.Context) {
	c := b.newCosted()
	defer c.drop(ctx)
	b.wire.set(20 * time.Millisecond) // calls then take about as long as each other, which counting those in a row needs
	c.tick(ctx, new(bill), 0)
	c.tick(ctx, &c.idle, 0) // finds all there
	t := b.table("Cost, for a request for one package that is there", costs...)
	t.note("As many requests of a stock of %d as an owner is asked for until she is told that it is low, which needs", packagesPerOwner)
	t.note("some counting; the other rows are of an owner's first request, less idle ticks. Deletes include those by TTL policies.")
	t.note("Round trips: calls to Firestore in a row before message or package leaves. USD: 0.03 R, 0.09 W, 0.01 D.")
	now := c.request(ctx, t)
	c.left(ctx, t, "request whose trigger was lost, delivered", false, 1, c.Collections.Deliveries)
	c.answer = keypackage.ResultNoSession
	untilOver := int(c.DeliveryTTL/time.Minute) + 2
	offline := c.left(ctx, t, "request, requester offline, then returned", true, untilOver, c.Collections.KeyPackages)
	t.add("an idle tick of the scheduled function", c.row(c.idle, 1)...)
	b.atMost("USD for 100,000 requests, requester offline", offline[usd], 2)
	picture := b.table("What a request for one package costs", "before", "now")
	picture.file, picture.unit = "cost.svg", "documents, and US cents for 1,000 requests"
	picture.add("reads", 63, now[reads]) // before it was looked at what decides
	picture.add("writes", 8, now[writes])
	picture.add("deletes", 5, now[deletes])
	picture.add("cents, delivered", 2.66, now[usd])
	picture.add("cents, offline", 4.8, offline[usd])
}

// request counts claim and push, and the same trigger again.
func (c *costed) request(ctx context.Context, t *table) []float64 {
	requests := c.populate(ctx, c.few(4), packagesPerOwner, packagesPerOwner-keypackage.LowStock)
	var claim, push, again bill
	c.serve(ctx, requests, &claim, &push)
	c.serve(ctx, requests, &again, &again)
	n, both := len(requests), bill{trips: claim.trips + push.trips}
	both.add(claim, 1)
	both.add(push, 1)
	each, repeated := c.row(both, n), c.row(again, n)
	t.add("claim", c.row(claim, n)...)
	t.add("push", c.row(push, n)...)
	t.add("request, delivered", each...)
	t.add("the same trigger again", repeated...)
	c.atMost("reads of a request", each[reads], 12)
	c.atMost("round trips in a row of a request", each[trips], 7)
	c.atMost("USD for 100,000 requests, delivered", each[usd], 1.1)
	c.atMost("reads of a repeated trigger", repeated[reads], 3)
	why := c.table("What a request reads, writes and deletes, and why", "documents", "least possible")
	why.note("Least possible: nothing read twice, everything inside the transaction; then claims wait for each other.")
	claimReasons, pushReasons := reasons(c.Collections)
	unnamed := claim.explain(why, "claim", claimReasons, n) + push.explain(why, "deliver", pushReasons, n)
	c.atMost("Firestore operations that no promise needs", float64(unnamed), 0)
	c.tick(ctx, new(bill), 0) // tells the owners, at nobody's expense
	return each
}

// left counts what requests for as many owners cost that are left to the scheduled function for some minutes, their trigger being
// lost or not. Each then has a document in the collection created.
func (c *costed) left(ctx context.Context, t *table, name string, triggered bool, minutes int, created string) []float64 {
	const n = 5
	requests := c.populate(ctx, n, packagesPerOwner, 1)
	var all bill
	if triggered {
		c.serve(ctx, requests, &all, &all)
	}
	for range minutes {
		c.tick(ctx, &all, 1)
	}
	all.add(c.idle, -float64(minutes))
	if done := all.counts[operation{create, created}]; done != n {
		c.fatal(fmt.Errorf("%s: %v of %d", name, done, n))
	}
	each := c.row(all, n)
	t.add(name, each...)
	return each
}

// growth counts and times requests for owners whose stock is large.
func (b *bench) growth(ctx context.Context) {
	t := b.table("A request, by the stock of the owner", "documents read", "claim, milliseconds")
	t.file, t.unit = "growth.svg", "documents read, and milliseconds"
	t.note("The emulator's queries look at every document of the collection, Firestore's only at those that they return.")
	b.wire.set(region)
	for _, stock := range []int{5, 10, 20, 50, 100, 200} {
		name := fmt.Sprintf("stock of %d", stock)
		command.Progress(name)
		c := b.newCosted()
		defer c.drop(ctx)
		requests := c.populate(ctx, b.few(8), stock, 2)
		var all bill
		claims := c.serve(ctx, requests, &all, &all)
		t.add(name, c.row(all, len(requests))[reads], claims.quantile(0.5))
	}
}
