package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// bill is what something has cost. Its counts are of all that was done; reports divide.
type bill struct {
	docs               map[operation]int
	invocations, posts int
	trips              int // calls to Firestore in a row before what it does for the requester, at least
}

// on counts one invocation of a function.
func (b *bill) on(c *costed, invocation func() error) error {
	posts := c.relay.pushes.Load()
	c.before.Store(0)
	err := invocation()
	docs, trips := c.meter.take()
	if before := int(c.before.Load()); before > 0 {
		trips = before
	}
	if b.docs == nil {
		b.docs, b.trips = make(map[operation]int), trips
	}
	for op, n := range docs {
		b.docs[op] += n
	}
	b.invocations++
	b.posts += int(c.relay.pushes.Load() - posts)
	b.trips = min(b.trips, trips)
	return err
}

// plus is both after each other.
func (b bill) plus(other bill) bill {
	sum := bill{docs: maps.Clone(b.docs), invocations: b.invocations + other.invocations, posts: b.posts + other.posts}
	sum.trips = b.trips + other.trips
	for op, n := range other.docs {
		sum.docs[op] += n
	}
	return sum
}

// price is what one request costs.
type price struct{ reads, writes, deletes float64 }

func (p price) usd() float64 { return 0.03*p.reads + 0.09*p.writes + 0.01*p.deletes }

func (p price) figures() [4]float64 { return [4]float64{p.reads, p.writes, p.deletes, p.usd()} }

// less is the bill for each of n requests, without a part that others pay. Deletes include what TTL policies will remove: what was
// created of ours, and the requests, which have their time from the outcome.
func (b bill) less(other bill, n int, names config.Collections) (p price) {
	expiring := []string{names.Claims, names.Deliveries, names.Ledger, names.Pairs}
	add := func(docs map[operation]int, weight float64) {
		for op, docs := range docs {
			each := weight * float64(docs) / float64(n)
			switch op.kind {
			case create, update:
				p.writes += each
			case remove, missed:
				p.deletes += each
			default:
				p.reads += each
			}
			if op.kind == create && slices.Contains(expiring, op.collection) || op == (operation{update, names.Requests}) {
				p.deletes += each
			}
		}
	}
	add(b.docs, 1)
	add(other.docs, -1)
	return p
}

// explain lists the operations of n requests with the promise that needs each, and returns how many none needs.
func (b bill) explain(t *table, what string, reasons []reason, n int) (unnamed int) {
	for _, op := range slices.SortedFunc(maps.Keys(b.docs), byKind) {
		floor, promise := 0.0, "NO PROMISE NEEDS IT"
		i := slices.IndexFunc(reasons, func(r reason) bool { return r.operation == op })
		if i >= 0 {
			floor, promise = reasons[i].least, reasons[i].promise
		} else {
			unnamed++
		}
		name := fmt.Sprintf("%s: %s %s", what, op.kind, op.collection)
		t.row(name, promise, figure(float64(b.docs[op])/float64(n)), figure(floor))
	}
	return unnamed
}

var order = []kind{query, tally, read, readAgain, create, update, remove, missed}

func byKind(a, b operation) int {
	return cmp.Or(slices.Index(order, a.kind)-slices.Index(order, b.kind), strings.Compare(a.collection, b.collection))
}
