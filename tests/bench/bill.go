package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// bill is what something has cost. Its counts are of all that was done; report divides.
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

// totals are reads, writes and deletes. Deletes include what TTL policies will remove: of what was created, and the requests,
// which have their time from the outcome.
func (b bill) totals(expiring []string, requests string) (sums [3]float64) {
	for op, n := range b.docs {
		sums[classOf[op.kind]] += float64(n)
		if op.kind == create && slices.Contains(expiring, op.collection) || op == (operation{update, requests}) {
			sums[deletes] += float64(n)
		}
	}
	return sums
}

// The classes of operations that have a price.
const (
	readings = iota
	writes
	deletes
)

var classOf = map[kind]int{create: writes, update: writes, remove: deletes} // the others are readings

// reportReasons lists the operations of a request with the promise that needs each.
func (b *bench) reportReasons(claim, push bill, names config.Collections) {
	t := b.report.table("What a request reads, writes and deletes, and why", "documents", "least possible")
	t.note("Least possible: nothing read twice, everything inside the transaction; then concurrent claims wait for each other's locks.")
	unnamed := 0
	for _, step := range []struct {
		phase string
		bill
	}{{phaseClaim, claim}, {phaseDeliver, push}} {
		for _, op := range slices.SortedFunc(maps.Keys(step.docs), byKind) {
			floor, promise := 0.0, "NO PROMISE NEEDS IT"
			if why := find(step.phase, op, names); why != nil {
				floor, promise = why.least, why.promise
			} else {
				unnamed++
			}
			name := fmt.Sprintf("%s: %s %s", step.phase, op.kind, op.collection)
			t.add(name, float64(step.docs[op])/float64(b.sizes.costs), floor).Remark = promise
		}
	}
	b.report.atMost("Firestore operations that no promise needs", float64(unnamed), 0)
}

var order = []kind{query, tally, read, readAgain, create, update, remove}

func byKind(a, b operation) int {
	return cmp.Or(slices.Index(order, a.kind)-slices.Index(order, b.kind), strings.Compare(a.collection, b.collection))
}
