package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// counting is the round-trip time while costs are counted. It makes calls take about as long as each other, which counting
// those in a row needs.
const counting = 20 * time.Millisecond

// costed is a system whose calls to Firestore are counted, with a clock of its own and one relay.
type costed struct {
	*bench
	db        *database
	meter     *meter
	later     time.Duration // than now
	relay     *answering
	claimer   *claiming.Claimer
	deliverer *delivering.Deliverer
	expirer   *expiring.Expirer

	before    atomic.Int64              // round trips before the message or the push
	mu        sync.Mutex                // the scheduled function claims several requests at once
	announced []keypackage.Announcement // by claims
	nudged    []string                  // requesters named by the scheduled function
}

func (b *bench) newCosted(ctx context.Context) (c *costed, err error) {
	c = &costed{bench: b, meter: newMeter()}
	c.relay = &answering{result: keypackage.ResultDelivered, asked: c.goes}
	if c.db, err = newDatabase(ctx, grpc.WithStatsHandler(c.meter)); err != nil {
		return nil, err
	}
	now := func() time.Time { return time.Now().Add(c.later) }
	c.claimer = c.db.claimer(c.db.store(), c, now)
	c.deliverer = delivering.New(c.db.store(), c.relay, keypackage.ModeDeliver, now)
	settings := expiring.Settings{Mode: keypackage.ModeDeliver, RequestMaxAge: c.db.RequestMaxAge}
	c.expirer = expiring.New(c.db.store(), c, c, c, settings, now)
	return c, nil
}

// Recover implements expiring.Claimer.
func (c *costed) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	_, err := c.claimer.Recover(ctx, doc)
	return err
}

// goes is told that a message or a push goes out. What is recorded afterwards keeps no requester waiting.
func (c *costed) goes() { c.before.Store(int64(c.meter.trips())) }

// PublishRequest implements claiming.Publisher.
func (c *costed) PublishRequest(_ context.Context, a keypackage.Announcement) error {
	c.goes()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announced = append(c.announced, a)
	return nil
}

// PublishRequesters implements expiring.Publisher.
func (c *costed) PublishRequesters(_ context.Context, requesters []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudged = append(c.nudged, requesters...)
	return nil
}

// PublishNotices implements expiring.NoticePublisher.
func (c *costed) PublishNotices(context.Context, []keypackage.Notice) error { return nil }

// requests stores so many for one package of each of some owners.
func (c *costed) requests(ctx context.Context, owners, stock, each int) (requests []keypackage.RequestDocument, err error) {
	err = c.wire.without(func() error {
		keys, err := c.db.newOwners(ctx, owners, stock)
		if err == nil {
			requests, err = c.db.newRequests(ctx, owners*each, keys)
		}
		return err
	})
	c.meter.take()
	return requests, err
}

// What a request cost before it was looked at what decides: the operations, and 100,000 requests in USD.
var (
	costBefore        = price{63, 8, 5}
	costBeforeOffline = 4.8
)

// cost counts what Firestore charges for a request and for what may go otherwise, and names the promise behind each
// operation of a request.
func (b *bench) cost(ctx context.Context) error {
	c, err := b.newCosted(ctx)
	if err != nil {
		return err
	}
	defer c.db.drop(ctx)
	defer b.wire.set(0)
	b.wire.set(counting)
	var first, idle bill
	for _, into := range []*bill{&first, &idle} { // the first one creates what later ones find
		if err := c.tick(ctx, into); err != nil {
			return err
		}
	}
	t := b.table("Cost, for a request for one package that is there",
		"reads", "writes", "deletes", "round trips", "invocations", "POSTs", "USD/100,000")
	t.note("A request of a stock of %d, as many as the owner is asked for until she is told that it is low; so the counting of", packagesPerOwner)
	t.note("documents, which the first and the last of them need, is in it in part. The other rows are of an owner's first request.")
	t.note("Deletes include one for each document of ours that a TTL policy removes later. Round trips are calls to Firestore in a")
	t.note("row before the message or the package leaves. USD: 0.03, 0.09 and 0.01 for 100,000 reads, writes and deletes. What an idle")
	t.note("tick costs is left out of the others.")
	picture := b.picture("cost", "What a request for one package costs", "documents, and US cents for 1,000 requests")
	if err := errors.Join(c.request(ctx, t, picture), c.lostTrigger(ctx, t, idle), c.offline(ctx, t, picture, idle)); err != nil {
		return err
	}
	c.row(t, "an idle tick of the scheduled function", idle, bill{}, 1)
	return nil
}

// row adds a bill less a part that others pay, for each of n requests.
func (c *costed) row(t *table, name string, all, less bill, n int) price {
	each := all.less(less, n, c.db.Collections)
	t.add(name, each.reads, each.writes, each.deletes, float64(all.trips),
		float64(all.invocations-less.invocations)/float64(n), float64(all.posts)/float64(n), each.usd())
	return each
}

// request counts claim and push, and the same trigger again.
func (c *costed) request(ctx context.Context, t *table, picture *picture) error {
	requests, err := c.requests(ctx, c.sizes.costs, packagesPerOwner, packagesPerOwner-keypackage.LowStock)
	if err != nil {
		return err
	}
	var claim, push, again bill
	for i, request := range requests {
		progress("request %d of %d", i+1, len(requests))
		err := errors.Join(c.claim(ctx, &claim, request), c.push(ctx, &push), c.claim(ctx, &again, request), c.push(ctx, &again))
		if err != nil {
			return err
		}
	}
	n := len(requests)
	c.row(t, "claim", claim, bill{}, n)
	c.row(t, "push", push, bill{}, n)
	both := claim.plus(push)
	each := c.row(t, "request, delivered", both, bill{}, n)
	repeated := c.row(t, "the same trigger again", again, bill{}, n)
	c.atMost("reads of a request", each.reads, 12)
	c.atMost("round trips in a row of a request", float64(both.trips), 7)
	c.atMost("USD for 100,000 requests, delivered", each.usd(), 1.1)
	c.atMost("reads of a repeated trigger", repeated.reads, 3)
	for series, p := range [][4]float64{costBefore.figures(), each.figures()} {
		for i, what := range []string{"reads", "writes", "deletes", "cents, delivered"} {
			picture.set(what, []string{"before", "now"}[series], p[i])
		}
	}
	why := c.table("What a request reads, writes and deletes, and why", "documents", "least possible")
	why.note("Least possible: nothing read twice, everything inside the transaction; then concurrent claims wait for each other's locks.")
	unnamed := claim.explain(why, "claim", claimReasons(c.db.Collections), n) +
		push.explain(why, "deliver", pushReasons(c.db.Collections), n)
	c.atMost("Firestore operations that no promise needs", float64(unnamed), 0)
	return c.tick(ctx, new(bill)) // tells the owners, at nobody's expense
}

func (c *costed) claim(ctx context.Context, into *bill, request keypackage.RequestDocument) error {
	return into.on(c, func() error { _, err := c.claimer.Claim(ctx, request); return err })
}

// push delivers what was announced.
func (c *costed) push(ctx context.Context, into *bill) error {
	for _, a := range c.announced {
		if err := into.on(c, func() error { _, err := c.deliverer.ForRequest(ctx, a); return err }); err != nil {
			return err
		}
	}
	c.announced = nil
	return nil
}

// tick runs the scheduled function, and delivers to those whom it names.
func (c *costed) tick(ctx context.Context, into *bill) error {
	if err := into.on(c, func() error { _, err := c.expirer.Run(ctx); return err }); err != nil {
		return err
	}
	for _, requester := range c.nudged {
		if err := into.on(c, func() error { _, err := c.deliverer.ForRequester(ctx, requester); return err }); err != nil {
			return err
		}
	}
	c.nudged = nil
	return c.push(ctx, into)
}

// fewRequests is how many are left to the scheduled function, each for another owner.
const fewRequests = 5

// lostTrigger leaves requests to the scheduled function.
func (c *costed) lostTrigger(ctx context.Context, t *table, idle bill) error {
	requests, err := c.requests(ctx, fewRequests, packagesPerOwner, 1)
	if err != nil {
		return err
	}
	c.later += time.Minute
	var found bill
	if err := c.tick(ctx, &found); err != nil {
		return err
	}
	if found.posts != len(requests) {
		return fmt.Errorf("%d of %d requests without a trigger were served", found.posts, len(requests))
	}
	c.row(t, "request whose trigger was lost, delivered", found, idle, len(requests))
	return nil
}

// offline asks for requesters who never come, until their packages are back in stock.
func (c *costed) offline(ctx context.Context, t *table, picture *picture, idle bill) error {
	requests, err := c.requests(ctx, fewRequests, packagesPerOwner, 1)
	if err != nil {
		return err
	}
	c.relay.result = keypackage.ResultNoSession
	var all, idles bill
	for _, request := range requests {
		if err := errors.Join(c.claim(ctx, &all, request), c.push(ctx, &all)); err != nil {
			return err
		}
	}
	for over := c.db.DeliveryTTL + 2*time.Minute; over > 0; over -= time.Minute {
		c.later += time.Minute
		if err := c.tick(ctx, &all); err != nil {
			return err
		}
		idles = idle.plus(idles)
	}
	if all.docs[operation{create, c.db.Collections.KeyPackages}] != len(requests) {
		return fmt.Errorf("not all of %d packages are back: %v", len(requests), all.docs)
	}
	each := c.row(t, "request, requester offline, expired and returned", all, idles, len(requests))
	c.atMost("USD for 100,000 requests, requester offline", each.usd(), 2)
	picture.set("cents, offline", "before", costBeforeOffline)
	picture.set("cents, offline", "now", each.usd())
	return nil
}
