package claiming

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func ordinary(*keypackage.Candidate) {}

// Kinds of documents that a stock is drawn from; good ones are likelier.
var (
	oneTimeKinds = []func(*keypackage.Candidate){
		ordinary, ordinary, ordinary, ordinary, lastResort, usedAsReserve, used, expired, tombstoned, flawed, unborn,
	}
	allKinds = append(slices.Clone(oneTimeKinds), addressable)
)

// anyStock draws up to n documents of Bob's, of those kinds and suites, with twins and equal ages among them.
func anyStock(
	t *rapid.T, n int, kinds []func(*keypackage.Candidate), suites ...mls.Ciphersuite,
) []*keypackage.Candidate {
	return rapid.Custom(func(t *rapid.T) []*keypackage.Candidate {
		var all []*keypackage.Candidate
		for i := range rapid.IntRange(0, n).Draw(t, "size") {
			s := rapid.SampledFrom(suites).Draw(t, "suite")
			c := candidate(fmt.Sprintf("k%02d", i), rapid.Int64Range(0, 5).Draw(t, "created"), suite(s),
				rapid.SampledFrom(kinds).Draw(t, "kind"))
			if rapid.IntRange(0, 3).Draw(t, "twin") == 0 {
				c.Hash = fmt.Sprint("twin ", s)
			}
			all = append(all, c)
		}
		return all
	}).Draw(t, "stock")
}

// anyUnits draws up to six requests of few people for few things.
func anyUnits(t *rapid.T) []Unit {
	units := make([]Unit, rapid.IntRange(1, 6).Draw(t, "units"))
	for i := range units {
		edits := []func(*keypackage.Request){by(rapid.SampledFrom([]string{alice, carol}).Draw(t, "requester"))}
		if s := rapid.SampledFrom([]int{-1, -1, 0, 1, 2}).Draw(t, "wanted suite"); s >= 0 {
			edits = append(edits, ofSuite(mls.Ciphersuite(s)))
		}
		if rapid.IntRange(0, 4).Draw(t, "addressable first") == 1 {
			edits = append(edits, preferAddressable)
		}
		if rapid.IntRange(0, 2).Draw(t, "a REQ") == 0 {
			units[i] = req(fmt.Sprintf("r%d", i), rapid.Bool().Draw(t, "takes addressable"), edits[0])
			continue
		}
		units[i] = ask(fmt.Sprintf("r%d", i), rapid.IntRange(1, 5).Draw(t, "wanted"), edits...)
	}
	return units
}

// anyWorld draws a store with a stock, counts that are near their limits, and deliveries that may be joined.
func anyWorld(t *rapid.T) *memory {
	m := newMemory(t, anyStock(t, 14, allKinds, 1, 2)...)
	used := rapid.SampledFrom([]int{0, 90, 97, 99, 100}).Draw(t, "handed out")
	m.owners[bob] = keypackage.Owner{Pubkey: bob, HandedOut: keypackage.Window{}.Add(now.Add(-time.Minute), used), Version: m.tick()}
	pair := keypackage.Pair{Requester: alice, Owner: bob, Version: m.tick()}
	pair.Requests = pair.Requests.Add(now.Add(-time.Minute), rapid.SampledFrom([]int{0, 8, 10}).Draw(t, "requests"))
	for i := range rapid.IntRange(0, 3).Draw(t, "open deliveries") {
		d := keypackage.Delivery{
			ID: fmt.Sprintf("old_%d", i), PackageID: fmt.Sprint(i), Requester: alice, Owner: bob, RequestIDs: []string{"old"},
			ExpiresAt: now.Add(time.Minute), Reserve: rapid.Bool().Draw(t, "reserve"), Parked: rapid.Bool().Draw(t, "parked"),
			State: rapid.SampledFrom([]keypackage.State{keypackage.StatePending, keypackage.StateDelivered}).Draw(t, "state"), Version: m.tick(),
		}
		m.deliveries[d.ID] = d
		pair.Open = append(pair.Open, keypackage.OpenDelivery{DeliveryID: d.ID, Ask: "any", ExpiresAt: d.ExpiresAt})
	}
	if _, ok := m.deliveries["old_0"]; ok && rapid.Bool().Draw(t, "asked by REQ before") {
		pair.LastREQ = &keypackage.REQGrant{DeliveryID: "old_0", Suite: "0x0001", At: now.Add(-time.Second), ExpiresAt: now.Add(time.Minute)}
		pair.LastREQ.Reserve = m.deliveries["old_0"].Reserve
		pair.LastREQ.JoinedBy = rapid.SampledFrom([]string{"", "a 447"}).Draw(t, "joined")
	}
	m.pairs[alice+"_"+bob] = pair
	return m
}

// decideAll decides on the whole stock and commits.
func decideAll(t *rapid.T, m *memory, units []Unit) *Plan {
	view, err := m.View(t.Context(), bob, units)
	if err != nil {
		t.Fatal(err)
	}
	s := whole(m.oldestFirst(bob)...)
	viewBefore, stockBefore := fmt.Sprintf("%+v", *view), fmt.Sprint(deref(s.documents))
	plan, err := decide(units, view, s, generous, now)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", *view) != viewBefore || fmt.Sprint(deref(s.documents)) != stockBefore {
		t.Fatal("the decision changed what it was decided on")
	}
	if !plan.writes() {
		return plan
	}
	if err := m.Commit(t.Context(), plan); err != nil {
		t.Fatalf("the plan does not hold in the world that it was made for: %v", err)
	}
	return plan
}

func deref(candidates []*keypackage.Candidate) (all []keypackage.Candidate) {
	for _, c := range candidates {
		all = append(all, *c)
	}
	return all
}

// Whatever is in stock and whoever asks: what a claim may never do (accuse), oldest first, and within the limits.
func TestClaimsInAnyWorld(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, units := anyWorld(t), anyUnits(t)
		before := whole(m.oldestFirst(bob)...)
		usedBefore := m.owners[bob].HandedOut.Count(now)
		plan := decideAll(t, m, units)
		if len(plan.Answers) != len(units) {
			t.Fatalf("%d answers to %d units", len(plan.Answers), len(units))
		}
		if n := m.owners[bob].HandedOut.Count(now); n != usedBefore+len(plan.Consumed) || (n > 100 && len(plan.Consumed) > 0) {
			t.Fatalf("%d handed out before, %d now, of 100", usedBefore, n)
		}
		for _, pair := range m.pairs {
			if pair.Requests.Count(now) > 10 {
				t.Fatalf("%d requests of 10", pair.Requests.Count(now))
			}
		}
		checkOldestFirst(t, plan, before.documents)
		checkStatuses(t, plan, before.documents)
	})
}

// checkOldestFirst: of each ciphersuite the packages consumed are the first in the order of use.
func checkOldestFirst(t *rapid.T, plan *Plan, documents []*keypackage.Candidate) {
	consumed := make(map[string]bool)
	for _, h := range plan.Consumed {
		consumed[h.Candidate.Hash] = true
	}
	for _, h := range plan.Consumed {
		for _, c := range valid(documents) {
			if c.Suite == h.Candidate.Suite && c.OneTime() && !consumed[c.Hash] && keypackage.CompareUse(c, h.Candidate) < 0 {
				t.Fatalf("%s is consumed before %s", h.Candidate.ID, c.ID)
			}
		}
	}
}

// checkStatuses: why a unit got nothing, in the words of the contract.
func checkStatuses(t *rapid.T, plan *Plan, documents []*keypackage.Candidate) {
	for _, r := range plan.Answers {
		switch {
		case r.Reason == keypackage.ReasonAddressable || r.Granted > 0 || r.Reason == keypackage.ReasonPairLimit:
		case r.Status == keypackage.StatusNone && len(valid(documents)) == 0:
		case r.Status == keypackage.StatusNoMatch:
		default:
			t.Fatalf("%s got nothing: %s, %q, of %d valid packages", r.RequestID, r.Status, r.Reason, len(valid(documents)))
		}
		if (r.Reason == keypackage.ReasonPairLimit || r.Reason == keypackage.ReasonBudget) != r.RetryAt.After(now) {
			t.Fatalf("%s, reason %q, may be tried again at %v", r.Status, r.Reason, r.RetryAt)
		}
	}
}

func valid(documents []*keypackage.Candidate) []*keypackage.Candidate {
	return keypackage.Distinct(slices.DeleteFunc(keypackage.Current(documents), func(c *keypackage.Candidate) bool { return !c.Valid(now) }))
}

// Units that are decided together get what they would get one after another: each sees the effects of those before.
func TestUnitsSeeEachOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		together, units := anyWorld(t), anyUnits(t)
		oneByOne := together.clone()
		decideAll(t, together, units)
		for _, u := range units {
			decideAll(t, oneByOne, []Unit{u})
		}
		for what, pair := range map[string][2]any{
			"claims": {together.claims, oneByOne.claims}, "ledger": {together.ledger, oneByOne.ledger},
			"deliveries": {unversioned(together.deliveries), unversioned(oneByOne.deliveries)},
			"counts":     {together.owners[bob].HandedOut, oneByOne.owners[bob].HandedOut},
			"stock":      {candidateIDs(valid(together.oldestFirst(bob))), candidateIDs(valid(oneByOne.oldestFirst(bob)))},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Fatalf("%s: together %+v, one after another %+v", what, pair[0], pair[1])
			}
		}
	})
}

func (m *memory) clone() *memory {
	c := newMemory(m.accuser)
	c.version, c.stock, c.ledger, c.tombstones = m.version, maps.Clone(m.stock), maps.Clone(m.ledger), maps.Clone(m.tombstones)
	c.pairs, c.owners, c.deliveries = maps.Clone(m.pairs), maps.Clone(m.owners), maps.Clone(m.deliveries)
	return c
}

func unversioned(deliveries map[string]keypackage.Delivery) map[string]keypackage.Delivery {
	same := make(map[string]keypackage.Delivery, len(deliveries))
	for id, d := range deliveries {
		d.Version = time.Time{}
		same[id] = d
	}
	return same
}

// Reading no further than needed changes nothing: where a part of the stock decides, the whole stock decides the same.
// (Asked for one ciphersuite: without, a lone package of another suite may be older than what is read.)
func TestPagesDecideLikeTheWholeStock(t *testing.T) {
	t.Parallel()
	partial := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(t, anyStock(t, 40, oneTimeKinds, 1, 1, 1, 2)...)
		units := []Unit{ask("r", rapid.IntRange(1, 5).Draw(t, "wanted"), ofSuite(1))}
		reader := newStockReader(m, bob, units)
		reader.page = rapid.IntRange(1, 12).Draw(t, "page")
		claimer := New(m, nil, Settings{Limits: generous}, func() time.Time { return now })
		plan, err := claimer.plan(t.Context(), reader, false)
		if err != nil {
			t.Fatal(err)
		}
		all := decideAll(t, m.clone(), units)
		if !slices.Equal(consumed(plan), consumed(all)) || !slices.Equal(handoutIDs(plan.Reserves), handoutIDs(all.Reserves)) {
			t.Fatalf("%d of %d documents read: consumed %v, reserves %v; of all: %v, %v", len(reader.documents), len(m.stock),
				consumed(plan), handoutIDs(plan.Reserves), consumed(all), handoutIDs(all.Reserves))
		}
		if !reflect.DeepEqual(plan.Claims, all.Claims) {
			t.Fatalf("claims: %+v, of all %+v", plan.Claims, all.Claims)
		}
		if err := m.Commit(t.Context(), plan); err != nil {
			t.Fatalf("a part was enough to decide, but not to commit: %v", err)
		}
		if !reader.complete {
			partial++
		}
	})
	if partial < 5 {
		t.Errorf("only %d claims were decided on a part of the stock", partial)
	}
}

// With hope, a claim leaves it to its commit whether anybody has been handed what it hands out. It may lose then, and
// only then; what it commits is what it would have decided with open eyes.
func TestHopeIsNeverWrongAndCommitted(t *testing.T) {
	t.Parallel()
	won, lost := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		kinds := []func(*keypackage.Candidate){ordinary, ordinary, ordinary, used, usedAsReserve, tombstoned, flawed}
		m := newMemory(t, anyStock(t, 20, kinds, 1, 1, 1, 2)...)
		units := []Unit{ask("r", rapid.IntRange(1, 3).Draw(t, "wanted"), ofSuite(1))}
		claimer := New(m, nil, Settings{Limits: generous}, func() time.Time { return now })
		careful, err := claimer.plan(t.Context(), newStockReader(m, bob, units), false)
		if err != nil {
			t.Fatal(err)
		}
		hopeful, err := claimer.plan(t.Context(), newStockReader(m, bob, units), true)
		if err != nil {
			t.Fatal(err)
		}
		other := m.clone()
		if err := m.Commit(t.Context(), hopeful); err != nil {
			lost++
			m = other
			if err := m.Commit(t.Context(), careful); err != nil {
				t.Fatalf("nothing is left open, but %v", err)
			}
			return
		}
		won++
		if !slices.Equal(consumed(hopeful), consumed(careful)) || !slices.Equal(handoutIDs(hopeful.Reserves), handoutIDs(careful.Reserves)) {
			t.Fatalf("hope consumed %v and exposed %v, instead of %v and %v", consumed(hopeful), handoutIDs(hopeful.Reserves),
				consumed(careful), handoutIDs(careful.Reserves))
		}
	})
	if won < 5 || lost < 5 {
		t.Errorf("hope was right %d times and wrong %d times", won, lost)
	}
}
