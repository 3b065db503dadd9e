package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// severalPackages is how many packages the more usual request of a group chat with several devices asks for.
const severalPackages = 5

// cost counts what Firestore charges for a request, operation by operation, with the promise that needs it.
func (b *bench) cost(ctx context.Context) error {
	one, err := b.countCost(ctx, 1)
	if err != nil {
		return err
	}
	several, err := b.countCost(ctx, severalPackages)
	if err != nil {
		return err
	}
	unnamed := b.reportCost(one, several)
	b.report.atMost("Firestore operations that no promise needs", float64(unnamed), 0)
	return nil
}

// bill is the mean of what requests cost.
type bill struct {
	docs     map[string]map[operation]float64 // by phase
	calls    map[string]map[string]float64
	messages float64
	db       *database
}

// countCost counts requests for n packages of owners with enough of them, claimed and delivered at the first push.
func (b *bench) countCost(ctx context.Context, n int) (bill, error) {
	m := newMeter()
	metered, err := m.option()
	if err != nil {
		return bill{}, err
	}
	db, err := newDatabase(ctx, metered)
	if err != nil {
		return bill{}, err
	}
	defer db.drop(ctx)
	stocked, err := db.newOwners(ctx, b.sizes.costs, n+packagesPerOwner)
	if err != nil {
		return bill{}, err
	}
	requests, err := db.newRequestsFor(ctx, b.sizes.costs, stocked, n)
	if err != nil {
		return bill{}, err
	}
	published := &announced{}
	claimer := db.claimerTo(db.store(), published)
	deliverer := delivering.New(db.store(), pleased{}, keypackage.ModeDeliver, time.Now)
	sum := bill{docs: map[string]map[operation]float64{}, calls: map[string]map[string]float64{}, db: db}
	m.take()
	for _, request := range requests {
		if _, err := claimer.Claim(ctx, request); err != nil {
			return bill{}, err
		}
		sum.add(phaseClaim, m, len(requests))
		result, err := deliverer.ForRequest(ctx, published.last)
		if err != nil || result.Delivered != n {
			return bill{}, fmt.Errorf("%d of %d packages delivered: %w", result.Delivered, n, err)
		}
		sum.add(phaseDeliver, m, len(requests))
	}
	sum.messages = float64(published.n) / float64(len(requests))
	return sum, nil
}

func (b *bill) add(phase string, m *meter, of int) {
	docs, calls := m.take()
	if b.docs[phase] == nil {
		b.docs[phase], b.calls[phase] = map[operation]float64{}, map[string]float64{}
	}
	for op, n := range docs {
		b.docs[phase][op] += float64(n) / float64(of)
	}
	for method, n := range calls {
		b.calls[phase][method] += float64(n) / float64(of)
	}
}

// announced counts messages instead of publishing them, and keeps the last.
type announced struct {
	n    int
	last keypackage.Announcement
}

// PublishRequest implements claiming.Publisher.
func (p *announced) PublishRequest(_ context.Context, a keypackage.Announcement) error {
	p.n++
	p.last = a
	return nil
}

// pleased is a relay that delivers everything.
type pleased struct{}

// Push implements delivering.Relay.
func (pleased) Push(_ context.Context, push delivering.Push) delivering.Results {
	results := make(map[string]keypackage.PushResult, len(push.Deliveries))
	for _, d := range push.Deliveries {
		results[d.ID] = keypackage.ResultDelivered
	}
	return delivering.Results{Each: results}
}

// reportCost returns how many operations have no reason.
func (b *bench) reportCost(one, several bill) (unnamed int) {
	t := b.report.table("cost", "Cost of a request whose packages are there: documents that Firestore charges for",
		"1 package", "least possible", fmt.Sprintf("%d at once, each", severalPackages))
	var sums, least, each [3]float64
	for _, phase := range []string{phaseClaim, phaseDeliver} {
		for _, op := range slices.SortedFunc(maps.Keys(one.docs[phase]), byKind) {
			why := find(phase, op, one.db.Collections)
			floor, promise := 0.0, "NO PROMISE NEEDS IT"
			if why != nil {
				floor, promise = why.least, why.promise
			} else {
				unnamed++
			}
			n, per := one.docs[phase][op], several.docs[phase][op]/severalPackages
			t.add(fmt.Sprintf("%s: %s %s", phase, op.kind, op.collection), n, floor, per).Remark = promise
			class := classOf(op.kind)
			sums[class] += n
			least[class] += floor
			each[class] += per
		}
	}
	for class, name := range []string{"reads", "writes", "deletes"} {
		t.add("sum of "+name, sums[class], least[class], each[class])
	}
	t.add("messages", one.messages, 1, several.messages/severalPackages).Remark = "\"deliver what is pending\""
	calls := t.add("invocations", b.invocations, 2, b.invocations/severalPackages)
	calls.Remark = "counted at the doors while the path was measured, the relay's nudges included"
	t.note("Least possible: nothing read twice, everything inside the transaction; then concurrent claims wait for each other's locks.")
	t.note("The old handler, by its description: 1 read (the query), 1 write (the pending delivery), 1 delete, and nobody was sent anything.")
	t.note("The polling design adds to a claim 1 write, and 86,400 times a day as many reads as deliveries are pending and sessions open.")
	t.note("Calls to Firestore for one package: claim %s; deliver %s.", listed(one.calls[phaseClaim]), listed(one.calls[phaseDeliver]))
	return unnamed
}

func classOf(k kind) int {
	switch k {
	case query, read, readAgain:
		return 0
	case remove:
		return 2
	}
	return 1
}

func byKind(a, b operation) int {
	return strings.Compare(rank(a.kind)+a.collection, rank(b.kind)+b.collection)
}

func rank(k kind) string {
	return fmt.Sprint(slices.Index([]kind{query, read, readAgain, create, update, remove}, k))
}

func listed(calls map[string]float64) string {
	var parts []string
	for _, method := range slices.Sorted(maps.Keys(calls)) {
		parts = append(parts, fmt.Sprintf("%s %s", Number(calls[method]), method))
	}
	return strings.Join(parts, ", ")
}
