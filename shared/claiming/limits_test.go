package claiming

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// The eleventh request of an hour is told when to come again, also if all come in one transaction; others are not affected.
func TestPairLimit(t *testing.T) {
	t.Parallel()
	view := nothingKnown()
	view.Pairs[alice] = keypackage.Pair{Requests: keypackage.Window{}.Add(now.Add(-20*time.Minute), 8)}
	units := []Unit{ask("r1", 1), ask("r2", 1), ask("c", 1, by(carol)), ask("r3", 1)}
	plan := decided(t, units, view, whole(fresh(9)...), generous)
	for i, status := range []keypackage.Status{keypackage.StatusFull, keypackage.StatusFull, keypackage.StatusFull, keypackage.StatusLimited} {
		if plan.Claims[i].Status != status {
			t.Errorf("request %d: %s, want %s", i, plan.Claims[i].Status, status)
		}
	}
	limited := plan.Claims[3]
	if limited.Reason != keypackage.ReasonPairLimit || limited.Granted != 0 || !limited.RetryAt.Equal(now.Add(41*time.Minute)) {
		t.Errorf("limited: %+v, retry %v from now", limited, limited.RetryAt.Sub(now))
	}
	for _, pair := range plan.Pairs {
		want := map[string]int{alice: 10, carol: 1}[pair.Requester]
		if pair.Owner != bob || pair.Requests.Count(now) != want {
			t.Errorf("%s of %s counts %d requests, want %d", pair.Requester, pair.Owner, pair.Requests.Count(now), want)
		}
	}
	if len(plan.Pairs) != 2 {
		t.Errorf("%d pairs are written; each limit relies on its own", len(plan.Pairs))
	}
}

// Beyond the owner's budget only the reserve is handed out, and the budget is blamed only if it was the reason.
func TestOwnerBudget(t *testing.T) {
	t.Parallel()
	lastOfMany := &stock{documents: fresh(9), newest: map[string]bool{"k8": true, "k9": true}, beyondGap: map[string]bool{"k8": true, "k9": true}}
	noneMatch := &stock{documents: fresh(9), newest: map[string]bool{"k9": true}, beyondGap: map[string]bool{"k9": true}}
	for name, tt := range map[string]struct {
		used               int
		stock              *stock
		unit               Unit
		consumed, reserves []string
		status             keypackage.Status
		blamed             bool
	}{
		"enough":                 {98, whole(fresh(9)...), ask("r", 2), []string{"k1", "k2"}, nil, keypackage.StatusFull, false},
		"one left":               {99, whole(fresh(9)...), ask("r", 2), []string{"k1"}, []string{"k9"}, keypackage.StatusFull, true},
		"one left of three":      {99, whole(fresh(9)...), ask("r", 3), []string{"k1"}, []string{"k9"}, keypackage.StatusPartial, true},
		"none left":              {100, whole(fresh(9)...), ask("r", 1), nil, []string{"k9"}, keypackage.StatusFull, true},
		"more than used up":      {250, whole(fresh(9)...), ask("r", 3), nil, []string{"k9"}, keypackage.StatusPartial, true},
		"the reserve is free":    {100, whole(fresh(1)...), ask("r", 1), nil, []string{"k1"}, keypackage.StatusFull, false},
		"nothing there anyway":   {100, whole(), ask("r", 1), nil, nil, keypackage.StatusNone, false},
		"nothing matches":        {100, whole(fresh(9)...), ask("r", 1, ofSuite(2)), nil, nil, keypackage.StatusNoMatch, false},
		"not more there anyway":  {95, whole(fresh(3)...), ask("r", 10), []string{"k1", "k2"}, []string{"k3"}, keypackage.StatusPartial, false},
		"the last of the newest": {100, lastOfMany, ask("r", 2), nil, []string{"k9"}, keypackage.StatusPartial, true},
		"not read far enough":    {100, noneMatch, ask("r", 2, ofSuite(2)), nil, nil, keypackage.StatusLimited, true},
	} {
		plan := decided(t, []Unit{tt.unit}, handedOut(tt.used), tt.stock, generous)
		claim := plan.Claims[0]
		if !slices.Equal(consumed(plan), nonNil(tt.consumed)) || !slices.Equal(handoutIDs(plan.Reserves), nonNil(tt.reserves)) {
			t.Errorf("%s: consumed %v, reserves %v", name, consumed(plan), handoutIDs(plan.Reserves))
		}
		if blamed := claim.Reason == keypackage.ReasonBudget; claim.Status != tt.status || blamed != tt.blamed {
			t.Errorf("%s: %s, reason %q", name, claim.Status, claim.Reason)
		}
		if tt.blamed != plan.RequireOwner || tt.blamed != claim.RetryAt.After(now) {
			t.Errorf("%s: relies on the budget %v, retry at %v", name, plan.RequireOwner, claim.RetryAt)
		}
		if count := plan.Owner.HandedOut.Count(now); count != tt.used+len(tt.consumed) {
			t.Errorf("%s: counts %d handed out, %d before", name, count, tt.used)
		}
	}
}

// Nothing is taken from behind a gap in what was read, even if it would do.
func TestBudgetTakesTheOldest(t *testing.T) {
	t.Parallel()
	read := []*keypackage.Candidate{candidate("x", 0, usedAsReserve), candidate("k1", 1), candidate("y", 80), candidate("z", 90)}
	newest := map[string]bool{"y": true, "z": true}
	gap := &stock{documents: read, newest: newest, beyondGap: map[string]bool{"y": true, "z": true}}
	if plan, err := decide([]Unit{ask("r", 9)}, handedOut(98), gap, generous, now); err == nil {
		t.Errorf("consumed %v although older ones were not read", consumed(plan))
	}
	joined := &stock{documents: read, newest: newest, beyondGap: map[string]bool{"z": true}}
	plan := decided(t, []Unit{ask("r", 9)}, handedOut(98), joined, generous)
	if !slices.Equal(consumed(plan), []string{"k1", "y"}) {
		t.Errorf("consumed %v", consumed(plan))
	}
}

func TestUnitsShareTheBudget(t *testing.T) {
	t.Parallel()
	units := []Unit{ask("r", 2), ask("s", 2, by(carol)), ask("t", 2, by("c"))}
	plan := decided(t, units, handedOut(97), whole(fresh(9)...), generous)
	for i, want := range [][]string{{"k1", "k2"}, {"k3", "k9"}, {"k9"}} {
		if got := packages(plan.Claims[i]); !slices.Equal(got, want) {
			t.Errorf("unit %d got %v, want %v", i, got, want)
		}
	}
}

// An open delivery of Alice's earlier request, as the view has it.
func open(view *View, packageID string, edits ...func(*keypackage.StoredDelivery)) {
	found := keypackage.StoredDelivery{Delivery: keypackage.Delivery{
		ID: "old_" + packageID, PackageID: packageID, Owner: bob, Requester: alice, RequestID: "old", RequestIDs: []string{"old"},
		State: keypackage.StatePending, ExpiresAt: now.Add(time.Minute), Version: now,
	}}
	for _, edit := range edits {
		edit(&found)
	}
	view.Open[found.ID] = found
	pair := view.Pairs[alice]
	pair.Open = append(pair.Open, keypackage.OpenDelivery{DeliveryID: found.ID, Ask: "any", ExpiresAt: found.ExpiresAt})
	view.Pairs[alice] = pair
}

func TestJoining(t *testing.T) {
	t.Parallel()
	state := func(s keypackage.State) func(*keypackage.StoredDelivery) {
		return func(f *keypackage.StoredDelivery) { f.State = s }
	}
	ends := func(in time.Duration) func(*keypackage.StoredDelivery) {
		return func(f *keypackage.StoredDelivery) { f.ExpiresAt = now.Add(in) }
	}
	for name, tt := range map[string]struct {
		edit  func(*keypackage.StoredDelivery)
		unit  Unit
		joins bool
	}{
		"pending":           {func(*keypackage.StoredDelivery) {}, ask("r", 1), true},
		"sending":           {state(keypackage.StateSending), ask("r", 1), true},
		"perhaps exposed":   {func(f *keypackage.StoredDelivery) { f.ExposureUnknown = true }, ask("r", 1), true},
		"30 seconds left":   {ends(30 * time.Second), ask("r", 1), true},
		"29 seconds left":   {ends(29 * time.Second), ask("r", 1), false},
		"delivered":         {state(keypackage.StateDelivered), ask("r", 1), false},
		"expired":           {state(keypackage.StateExpired), ask("r", 1), false},
		"parked":            {func(f *keypackage.StoredDelivery) { f.Parked = true }, ask("r", 1), false},
		"deleted meanwhile": {func(f *keypackage.StoredDelivery) { f.Tombstoned = true }, ask("r", 1), false},
		"another suite":     {func(*keypackage.StoredDelivery) {}, ask("r", 1, ofSuite(1)), false},
		"another requester": {func(*keypackage.StoredDelivery) {}, ask("r", 1, by(carol)), false},
	} {
		view := nothingKnown()
		open(view, "x", tt.edit)
		plan := decided(t, []Unit{tt.unit}, view, whole(fresh(3)...), generous)
		if claim := plan.Claims[0]; tt.joins != (len(plan.Joined) == 1) || tt.joins != slices.Equal(claim.DeliveryIDs, []string{"old_x"}) ||
			tt.joins == (len(plan.Created) == 1) || claim.Status != keypackage.StatusFull {
			t.Errorf("%s: %s, deliveries %v", name, claim.Status, claim.DeliveryIDs)
		}
		if got := view.Open["old_x"]; !slices.Equal(got.RequestIDs, []string{"old"}) {
			t.Errorf("%s: the view was changed: %v", name, got.RequestIDs)
		}
	}
}

func TestJoinsCountAndTheRestIsClaimed(t *testing.T) {
	t.Parallel()
	reserve := func(f *keypackage.StoredDelivery) { f.Reserve = true }
	view := handedOut(99)
	open(view, "m", reserve)
	open(view, "n", reserve)
	for i := range 3 {
		open(view, fmt.Sprint("x", i))
	}
	plan := decided(t, []Unit{ask("r", 2), ask("s", 6)}, view, whole(fresh(4)...), generous)
	if got := packages(plan.Claims[0]); !slices.Equal(got, []string{"x0", "x1"}) || len(plan.Claims[0].Reason) > 0 {
		t.Errorf("two wanted, three one-time deliveries open: joined %v, reason %q", got, plan.Claims[0].Reason)
	}
	second := plan.Claims[1]
	if got := packages(second); !slices.Equal(got, []string{"x0", "x1", "x2", "k1", "m"}) || !second.Reserve {
		t.Errorf("six wanted: got %v; want what is open, one reserve of it, and one of the stock, as the budget allows", got)
	}
	if second.Status != keypackage.StatusPartial || second.Reason != keypackage.ReasonBudget {
		t.Errorf("six wanted: %s, reason %q", second.Status, second.Reason)
	}
	if got := plan.Joined[0].RequestIDs; !slices.Equal(got, []string{"old", "r", "s"}) || !plan.Joined[0].ExpiresAt.Equal(now.Add(time.Minute)) {
		t.Errorf("the first delivery has the requests %v and ends %v", got, plan.Joined[0].ExpiresAt)
	}
	if plan.Pairs[0].Requests.Count(now) != 2 {
		t.Errorf("%d requests counted; joins count", plan.Pairs[0].Requests.Count(now))
	}
}

// A repeated request joins what an earlier unit of the same transaction claims.
func TestJoiningWithinOneTransaction(t *testing.T) {
	t.Parallel()
	plan := decided(t, []Unit{ask("r", 1), ask("s", 2), ask("t", 1, ofSuite(1))}, nothingKnown(), whole(fresh(5)...), generous)
	for i, want := range [][]string{{"k1"}, {"k1", "k2"}, {"k3"}} {
		if got := packages(plan.Claims[i]); !slices.Equal(got, want) {
			t.Errorf("unit %d got %v, want %v", i, got, want)
		}
	}
	if len(plan.Joined) != 0 || !slices.Equal(plan.Created[0].RequestIDs, []string{"r", "s"}) {
		t.Errorf("the new delivery has the requests %v, and %d are joined besides", plan.Created[0].RequestIDs, len(plan.Joined))
	}
}

// The newest documents are read only if the budget may not suffice: not yet for the last package that it allows.
func TestNewestAreReadOverBudget(t *testing.T) {
	t.Parallel()
	c := New(newMemory(t), nil, Settings{Limits: generous}, func() time.Time { return now })
	for wanted, want := range map[int]int{4: 0, 5: 0, 6: keypackage.NewestLimit} {
		if got := c.newestWanted([]Unit{ask("r", wanted)}, handedOut(generous.OwnerBudgetPerHour-5)); got != want {
			t.Errorf("%d wanted of 5: %d of the newest are read, want %d", wanted, got, want)
		}
	}
}
