package keypackage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// candidate returns a valid candidate of suite 1 whose bytes nobody else has.
func candidate(id string, created int64, edits ...func(*keypackage.Candidate)) *keypackage.Candidate {
	c := &keypackage.Candidate{Package: keypackage.Package{
		ID: id, Owner: bob.pubkey, Kind: 443, Suite: 1, Hash: "hash of " + id, CreatedAt: created, ExpiresAt: now.Add(time.Hour),
	}, Stored: now.Add(-time.Hour)}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func lastResort(c *keypackage.Candidate)    { c.LastResort = true }
func usedAsReserve(c *keypackage.Candidate) { c.Use = keypackage.UseReserve }
func used(c *keypackage.Candidate)          { c.Use = keypackage.UseOneTime }
func addressable(c *keypackage.Candidate)   { c.Addressable, c.Kind = true, 30443 }

func TestOrderOfUse(t *testing.T) {
	t.Parallel()
	want := []*keypackage.Candidate{
		candidate("b", 1), candidate("a", 2), candidate("c", 2),
		candidate("e", 1, usedAsReserve), candidate("d", 5, usedAsReserve),
		candidate("g", 0, lastResort), candidate("f", 9, lastResort),
		candidate("h", 0, lastResort, usedAsReserve),
		candidate("i", 0, addressable),
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, keypackage.CompareUse)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", ids(got), ids(want))
	}
	for i, oneTime := range []bool{true, true, true, false, false, true, true, false, false} {
		if want[i].OneTime() != oneTime {
			t.Errorf("%s: one-time %v", want[i].ID, !oneTime)
		}
	}
}

func TestReserveIsTheLastOfItsSuite(t *testing.T) {
	t.Parallel()
	other := func(c *keypackage.Candidate) { c.Suite = 2 }
	stock := []*keypackage.Candidate{
		candidate("a", 1, lastResort), candidate("b", 2), candidate("c", 3), candidate("d", 1, other), candidate("e", 2, other),
	}
	got := keypackage.Reserves(stock)
	if len(got) != 2 || got[1] != stock[0] || got[2] != stock[4] {
		t.Errorf("got %v", got)
	}
	if got := keypackage.Reserves(nil); len(got) != 0 {
		t.Errorf("no stock has the reserves %v", got)
	}
}

func TestDistinct(t *testing.T) {
	t.Parallel()
	twin := func(c *keypackage.Candidate) { c.Hash = "the same" }
	first, again, open := candidate("a", 1, twin), candidate("b", 2, twin), candidate("c", 3, twin, addressable)
	alone := candidate("d", 4)
	if got := keypackage.Distinct([]*keypackage.Candidate{first, alone, again}); !slices.Equal(ids(got), []string{"a", "d"}) {
		t.Errorf("twins: got %v", ids(got))
	}
	if got := keypackage.Distinct([]*keypackage.Candidate{first, alone, open}); !slices.Equal(ids(got), []string{"c", "d"}) {
		t.Errorf("what is also addressable is addressable: got %v", ids(got))
	}
}

func TestCurrent(t *testing.T) {
	t.Parallel()
	slot := func(name string) func(*keypackage.Candidate) {
		return func(c *keypackage.Candidate) { c.Addressable, c.Slot = true, name }
	}
	got := keypackage.Current([]*keypackage.Candidate{
		candidate("a", 1, slot("x")), candidate("b", 2, slot("x")), candidate("d", 2, slot("x")),
		candidate("c", 1, slot("y")), candidate("e", 1), candidate("f", 9),
	})
	if !slices.Equal(ids(got), []string{"b", "c", "e", "f"}) {
		t.Errorf("got %v: the newest of a slot counts, of equally old ones the lower id; others are left alone", ids(got))
	}
}

func ids(candidates []*keypackage.Candidate) []string {
	var all []string
	for _, c := range candidates {
		all = append(all, c.ID)
	}
	return all
}

// anyStock draws candidates with few different properties, so that ties, twins and all classes meet.
func anyStock(t *rapid.T) []*keypackage.Candidate {
	return rapid.Custom(func(t *rapid.T) []*keypackage.Candidate {
		stock := make([]*keypackage.Candidate, rapid.IntRange(0, 12).Draw(t, "size"))
		for i := range stock {
			c := candidate(fmt.Sprintf("%02d", i), rapid.Int64Range(0, 4).Draw(t, "created"))
			c.Suite = mls.Ciphersuite(rapid.IntRange(1, 2).Draw(t, "suite"))
			c.Hash = fmt.Sprint(c.Suite, rapid.IntRange(0, 9).Draw(t, "bytes"))
			c.LastResort, c.Addressable = rapid.Bool().Draw(t, "last resort"), rapid.IntRange(0, 4).Draw(t, "addressable") == 0
			c.Use = rapid.SampledFrom([]keypackage.Use{"", "", keypackage.UseReserve, keypackage.UseOneTime}).Draw(t, "use")
			stock[i] = c
		}
		return stock
	}).Draw(t, "stock")
}

func TestOrderIsTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stock := anyStock(t)
		for _, a := range stock {
			for _, b := range stock {
				if ab, ba := keypackage.CompareUse(a, b), keypackage.CompareUse(b, a); ab != -ba || (ab == 0) != (a == b) {
					t.Fatalf("%s against %s: %d, the other way %d", a.ID, b.ID, ab, ba)
				}
			}
		}
		if !slices.IsSortedFunc(slices.SortedFunc(slices.Values(stock), keypackage.CompareUse), keypackage.CompareUse) {
			t.Fatal("the order is not transitive")
		}
	})
}

// However the stock is ordered when it is read, the same bytes stay, and each once.
func TestDistinctKeepsEveryPackageOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stock := anyStock(t)
		open := make(map[string]bool)
		for _, c := range stock {
			open[c.Hash] = open[c.Hash] || c.Addressable
		}
		seen := make(map[string]bool)
		for _, c := range keypackage.Distinct(rapid.Permutation(stock).Draw(t, "order")) {
			if seen[c.Hash] {
				t.Fatalf("%q stands twice", c.Hash)
			}
			if seen[c.Hash] = true; c.Addressable != open[c.Hash] {
				t.Fatalf("%q is addressable: %v", c.Hash, open[c.Hash])
			}
		}
		if len(seen) != len(open) {
			t.Fatalf("%d packages of %d", len(seen), len(open))
		}
	})
}

func TestReplacements(t *testing.T) {
	t.Parallel()
	reserve := candidate("r", 0, usedAsReserve)
	recent := func(c *keypackage.Candidate) { c.Stored = now.Add(-keypackage.RetireAfter + time.Second) }
	atLast := func(c *keypackage.Candidate) { c.Stored = now.Add(-keypackage.RetireAfter) }
	twin := func(hash string) func(*keypackage.Candidate) {
		return func(c *keypackage.Candidate) { c.Hash = hash }
	}
	over := func(c *keypackage.Candidate) { c.ExpiresAt = now }
	flawed := func(c *keypackage.Candidate) { c.Flaw = "x" }
	tombstoned := func(c *keypackage.Candidate) { c.Tombstoned = true }
	other := func(c *keypackage.Candidate) { c.Suite = 2 }
	good := candidate("g", 1)
	entry := keypackage.NewLedger(&reserve.Package, keypackage.UseReserve, "d", now)
	for name, tt := range map[string]struct {
		second *keypackage.Candidate
		want   bool
	}{
		"another one":           {candidate("h", 2), true},
		"of last resort":        {candidate("h", 2, lastResort), true},
		"just long enough":      {candidate("h", 2, atLast), true},
		"too recent":            {candidate("h", 2, recent), false},
		"of another suite":      {candidate("h", 2, other), false},
		"used as reserve":       {candidate("h", 2, usedAsReserve), false},
		"used":                  {candidate("h", 2, used), false},
		"expired":               {candidate("h", 2, over), false},
		"flawed":                {candidate("h", 2, flawed), false},
		"tombstoned":            {candidate("h", 2, tombstoned), false},
		"addressable":           {candidate("h", 2, addressable), false},
		"a twin of the first":   {candidate("h", 2, twin(good.Hash)), false},
		"a twin of the reserve": {candidate("h", 2, twin(reserve.Hash)), false},
	} {
		got := keypackage.Replacements(entry, []*keypackage.Candidate{tt.second, good, reserve}, now)
		if (got != nil) != tt.want || (tt.want && len(got) != 2) {
			t.Errorf("%s: got %v", name, ids(got))
		}
		if slices.Contains(got, reserve) {
			t.Errorf("%s: a package replaces itself", name)
		}
	}
}
