package claiming

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Who gets what of which stock. A package that stands under reserves is delivered as the reserve.
func TestOneUnit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stock              []*keypackage.Candidate
		unit               Unit
		consumed, reserves []string
		status             keypackage.Status
		reason             string
	}{
		"three of five":   {fresh(5), ask("r", 3), []string{"k1", "k2", "k3"}, nil, keypackage.StatusFull, ""},
		"two of two":      {fresh(2), ask("r", 2), []string{"k1"}, []string{"k2"}, keypackage.StatusFull, ""},
		"three of two":    {fresh(2), ask("r", 3), []string{"k1"}, []string{"k2"}, keypackage.StatusPartial, ""},
		"the last":        {fresh(1), ask("r", 1), nil, []string{"k1"}, keypackage.StatusFull, ""},
		"the last, again": {[]*keypackage.Candidate{candidate("a", 1, usedAsReserve)}, ask("r", 1), nil, []string{"a"}, keypackage.StatusFull, ""},
		"at most one reserve": {
			[]*keypackage.Candidate{candidate("a", 1, usedAsReserve), candidate("b", 2, lastResort, usedAsReserve)}, ask("r", 5),
			nil, []string{"b"}, keypackage.StatusPartial, "",
		},
		"nothing": {nil, ask("r", 1), nil, nil, keypackage.StatusNone, ""},
		"ties by the lower id": {
			[]*keypackage.Candidate{candidate("c", 1), candidate("a", 1), candidate("b", 1)}, ask("r", 2),
			[]string{"a", "b"}, nil, keypackage.StatusFull, "",
		},
		"last-resort ones last, and one-time unless they are the reserve": {
			[]*keypackage.Candidate{candidate("m1", 1, lastResort), candidate("m2", 2, lastResort), candidate("k", 3)}, ask("r", 3),
			[]string{"k", "m1"}, []string{"m2"}, keypackage.StatusFull, "",
		},
		"one used as reserve that is not the last is skipped": {
			[]*keypackage.Candidate{candidate("x", 1, usedAsReserve), candidate("k", 2), candidate("m", 3, lastResort)}, ask("r", 3),
			[]string{"k"}, []string{"m"}, keypackage.StatusPartial, "",
		},
		"one used as reserve remains": {
			[]*keypackage.Candidate{candidate("x", 1, usedAsReserve), candidate("k", 2)}, ask("r", 1),
			[]string{"k"}, nil, keypackage.StatusFull, "",
		},
		"all suites in one order": {
			[]*keypackage.Candidate{candidate("a", 1, suite(2)), candidate("b", 2), candidate("c", 3, suite(2)), candidate("d", 4)},
			ask("r", 2), []string{"a", "b"}, nil, keypackage.StatusFull, "",
		},
		"no reserve while another suite has a one-time package": {
			[]*keypackage.Candidate{candidate("a", 1, suite(2)), candidate("b", 2), candidate("c", 3)},
			ask("r", 1), []string{"b"}, nil, keypackage.StatusFull, "",
		},
		"the first of two reserves": {
			[]*keypackage.Candidate{candidate("a", 2), candidate("b", 1, suite(2))}, ask("r", 2),
			nil, []string{"b"}, keypackage.StatusPartial, "",
		},
		"only the suite asked": {
			[]*keypackage.Candidate{candidate("a", 1), candidate("b", 2, suite(2)), candidate("c", 3, suite(2))},
			ask("r", 2, ofSuite(2)), []string{"b"}, []string{"c"}, keypackage.StatusFull, "",
		},
		"none of the suite": {fresh(3), ask("r", 1, ofSuite(2)), nil, nil, keypackage.StatusNoMatch, ""},
		"unknown suite":     {fresh(3), ask("r", 1, ofSuite(0)), nil, nil, keypackage.StatusNoMatch, ""},
		"nothing valid": {
			[]*keypackage.Candidate{candidate("a", 1, expired), candidate("b", 1, used), candidate("c", 1, tombstoned), candidate("d", 1, flawed), candidate("e", 1, unborn)},
			ask("r", 1, ofSuite(1)), nil, nil, keypackage.StatusNone, keypackage.ReasonUnusable,
		},
		"nothing valid, and the lifetime of one has not begun": {
			[]*keypackage.Candidate{candidate("a", 1, unborn)}, ask("r", 1), nil, nil, keypackage.StatusNone, keypackage.ReasonUnusable,
		},
		"nothing that stays": {
			[]*keypackage.Candidate{candidate("a", 1, expired), candidate("b", 1, used), candidate("c", 1, tombstoned)},
			ask("r", 1), nil, nil, keypackage.StatusNone, "",
		},
		"twins are one package": {
			[]*keypackage.Candidate{candidate("a", 1, bytes("x")), candidate("b", 2, bytes("x"))}, ask("r", 2),
			nil, []string{"a"}, keypackage.StatusPartial, "",
		},
		"an addressable one is never used up": {
			[]*keypackage.Candidate{candidate("a", 1, addressable), candidate("k", 2)}, ask("r", 3),
			[]string{"k"}, []string{"a"}, keypackage.StatusPartial, "",
		},
		"an addressable one first, if asked": {
			append(fresh(3), candidate("a", 9, addressable), candidate("b", 8, addressable)), ask("r", 2, preferAddressable),
			[]string{"k1"}, []string{"a"}, keypackage.StatusFull, "",
		},
	} {
		plan := decided(t, []Unit{tt.unit}, nothingKnown(), whole(tt.stock...), generous)
		claim := plan.Claims[0]
		if !slices.Equal(consumed(plan), nonNil(tt.consumed)) || !slices.Equal(handoutIDs(plan.Reserves), nonNil(tt.reserves)) {
			t.Errorf("%s: consumed %v, reserves %v", name, consumed(plan), handoutIDs(plan.Reserves))
		}
		if claim.Status != tt.status || claim.Reason != tt.reason || claim.Granted != len(tt.consumed)+len(tt.reserves) {
			t.Errorf("%s: %s, reason %q, %d granted", name, claim.Status, claim.Reason, claim.Granted)
		}
		if claim.Reserve != (len(tt.reserves) > 0) {
			t.Errorf("%s: last resort %v", name, claim.Reserve)
		}
	}
}

func nonNil(ids []string) []string { return append([]string{}, ids...) }

// What is handed out is entered in the ledger under its bytes and its delivery: one-time or shared, once.
func TestLedgerEntries(t *testing.T) {
	t.Parallel()
	units := []Unit{ask("r", 2), ask("s", 1, by(carol))}
	plan := decided(t, units, nothingKnown(), whole(fresh(2)...), generous)
	one, shared := plan.Consumed[0].Ledger, plan.Reserves[0].Ledger
	if one.Use != keypackage.UseOneTime || one.Hash != "hash of k1" || one.DeliveryID != "r_k1" || !plan.Consumed[0].NewUse {
		t.Errorf("one-time: %+v", one)
	}
	if shared.Use != keypackage.UseReserve || shared.Hash != "hash of k2" || !plan.Reserves[0].NewUse {
		t.Errorf("reserve: %+v", shared)
	}
	if len(plan.Reserves) != 1 || len(plan.Created) != 3 {
		t.Errorf("a reserve that two requesters get is handed out %d times, in %d deliveries", len(plan.Reserves), len(plan.Created))
	}
	plan = decided(t, units, nothingKnown(), whole(candidate("x", 1, usedAsReserve)), generous)
	if len(plan.Reserves) != 1 || plan.Reserves[0].NewUse {
		t.Errorf("a reserve that was handed out before: %+v", plan.Reserves)
	}
}

func TestPackageThatRemains(t *testing.T) {
	t.Parallel()
	stock := whole(append(fresh(3), candidate("x", 0, suite(2)), candidate("y", 1, suite(2)), candidate("z", 0, suite(3)))...)
	plan := decided(t, []Unit{ask("r", 3)}, nothingKnown(), stock, generous)
	if got := candidateIDs(plan.Remaining); len(got) != 2 || !slices.Contains(got, "k3") || !slices.Contains(got, "y") {
		t.Errorf("consumed %v, %v remain; want the last of suites 1 and 2", consumed(plan), got)
	}
	if got := decided(t, []Unit{ask("r", 1)}, nothingKnown(), whole(fresh(1)...), generous).Remaining; len(got) > 0 {
		t.Errorf("nothing is consumed, but the plan relies on %v", candidateIDs(got))
	}
}

func TestCleaning(t *testing.T) {
	t.Parallel()
	known := candidate("known", 5, flawed)
	known.Document[keypackage.FieldFlaw] = known.Flaw
	both := candidate("both", 6, flawed, expired)
	plan := decided(t, []Unit{ask("r", 1)}, nothingKnown(), whole(
		candidate("a", 1, expired), candidate("b", 2, used), candidate("c", 3, tombstoned), candidate("d", 4, flawed), known, both,
		candidate("e", 7, unborn), candidate("f", 8), candidate("g", 9),
	), generous)
	if got := candidateIDs(plan.Removed); !slices.Equal(got, []string{"a", "b", "c", "both"}) {
		t.Errorf("removed %v", got)
	}
	if got := candidateIDs(plan.Flagged); !slices.Equal(got, []string{"d"}) {
		t.Errorf("flagged %v", got)
	}
	if !slices.Equal(consumed(plan), []string{"f"}) {
		t.Errorf("consumed %v", consumed(plan))
	}
}

// At the scan limit the claim decides as if the stock ended there, and says so only if it has nothing to give.
func TestScanLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stock  []*keypackage.Candidate
		unit   Unit
		status keypackage.Status
		reason string
	}{
		"nothing valid":   {[]*keypackage.Candidate{candidate("a", 1, flawed)}, ask("r", 1), keypackage.StatusNoMatch, "scan_limit"},
		"nothing matches": {fresh(2), ask("r", 1, ofSuite(2)), keypackage.StatusNoMatch, "scan_limit"},
		"something":       {fresh(2), ask("r", 3), keypackage.StatusPartial, ""},
		"unknown suite":   {fresh(2), ask("r", 3, ofSuite(0)), keypackage.StatusNoMatch, ""},
	} {
		stock := whole(tt.stock...)
		stock.truncated = true
		claim := decided(t, []Unit{tt.unit}, nothingKnown(), stock, generous).Claims[0]
		if claim.Status != tt.status || claim.Reason != tt.reason {
			t.Errorf("%s: %s, reason %q", name, claim.Status, claim.Reason)
		}
	}
}

func TestPartialReadDecidesOnlyWhatItCan(t *testing.T) {
	t.Parallel()
	enough := &stock{documents: fresh(7)}
	plan := decided(t, []Unit{ask("r", 2)}, nothingKnown(), enough, generous)
	if !slices.Equal(consumed(plan), []string{"k1", "k2"}) || len(plan.Remaining) != 1 {
		t.Errorf("consumed %v, remaining %v", consumed(plan), candidateIDs(plan.Remaining))
	}
	for name, documents := range map[string][]*keypackage.Candidate{
		"nothing would remain":             fresh(2),
		"a last-resort one may be last":    {candidate("a", 1), candidate("m", 2, lastResort), candidate("n", 3, lastResort)},
		"only ones used as reserve so far": {candidate("a", 1, usedAsReserve), candidate("b", 2, usedAsReserve)},
		"nothing valid so far":             {candidate("a", 1, flawed)},
		"nothing":                          nil,
	} {
		if _, err := decide([]Unit{ask("r", 2)}, nothingKnown(), &stock{documents: documents}, generous, now); !errors.Is(err, errMoreStock) {
			t.Errorf("%s: %v, want more stock to be read", name, err)
		}
	}
}

func TestStaleUnit(t *testing.T) {
	t.Parallel()
	unit := ask("r", 2, func(r *keypackage.Request) { r.ValidUntil = now })
	plan := decided(t, []Unit{unit}, nothingKnown(), whole(fresh(3)...), generous)
	claim := plan.Claims[0]
	if claim.Status != keypackage.StatusNone || claim.Reason != keypackage.ReasonStale || len(plan.Created) > 0 {
		t.Errorf("got %+v", claim)
	}
	if !claim.KeepUntil.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("kept until %v, want a day after the request's end", claim.KeepUntil)
	}
}
