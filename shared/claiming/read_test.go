package claiming

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestPagesCoverTheStockOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 3, 29, 30, 31} {
		m := newMemory(t, fresh(size)...)
		reader := stockReader{store: m, owner: bob, page: 2}
		for pages := 0; !reader.complete; pages++ {
			if err := reader.readOldest(t.Context()); err != nil || pages > 6 {
				t.Fatalf("page %d: %v", pages, err)
			}
		}
		if !slices.Equal(candidateIDs(reader.documents), candidateIDs(m.oldestFirst(bob))) || reader.truncated {
			t.Errorf("%d documents: read %v, truncated %v", size, candidateIDs(reader.documents), reader.truncated)
		}
	}
}

func TestReadingStopsAtTheScanLimit(t *testing.T) {
	t.Parallel()
	reader := stockReader{store: newMemory(t, fresh(scanLimit+5)...), owner: bob, page: 3}
	for !reader.complete {
		if err := reader.readOldest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !reader.truncated || len(reader.documents) != scanLimit {
		t.Errorf("%d documents read, truncated %v", len(reader.documents), reader.truncated)
	}
}

// Between the oldest and the newest documents there may be others, until the pages have met.
func TestNewestDocumentsBeyondAGap(t *testing.T) {
	t.Parallel()
	reader := stockReader{store: newMemory(t, fresh(keypackage.NewestLimit+10)...), owner: bob, page: 8}
	for _, read := range []func() error{
		func() error { return reader.readOldest(t.Context()) }, func() error { return reader.readNewest(t.Context(), keypackage.NewestLimit) },
	} {
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	oldest, newest := "k1", fmt.Sprintf("k%d", keypackage.NewestLimit+10)
	if reader.complete || !reader.beyondGap["k11"] || reader.beyondGap[oldest] || !reader.newest[newest] || reader.newest[oldest] {
		t.Errorf("read 8 and %d of %d: complete %v, beyond the gap %v", keypackage.NewestLimit, keypackage.NewestLimit+10, reader.complete, reader.beyondGap)
	}
	if err := reader.readOldest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reader.beyondGap["k11"] || reader.beyondGap["k24"] || !reader.beyondGap["k25"] || !reader.newest["k24"] {
		t.Errorf("24 of the oldest read: beyond the gap %v", reader.beyondGap)
	}
	if !slices.IsSortedFunc(reader.documents, keypackage.CompareAge) {
		t.Errorf("not oldest first: %v", candidateIDs(reader.documents))
	}
	if got := candidateIDs(reader.documents); len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
		t.Errorf("read twice: %v", got)
	}
}

func TestFewNewestDocumentsAreTheWholeStock(t *testing.T) {
	t.Parallel()
	reader := stockReader{store: newMemory(t, fresh(keypackage.NewestLimit-1)...), owner: bob, page: 2}
	if err := reader.readNewest(t.Context(), keypackage.NewestLimit); err != nil {
		t.Fatal(err)
	}
	if !reader.complete || len(reader.documents) != keypackage.NewestLimit-1 {
		t.Errorf("%d documents read, complete %v", len(reader.documents), reader.complete)
	}
}

// Over budget, what was read of the stock decides only what its beginning, without a gap, can decide.
func TestOverBudgetNeedsEnoughStock(t *testing.T) {
	t.Parallel()
	last := candidate("z", 99)
	for name, documents := range map[string][]*keypackage.Candidate{
		"nothing else of the suite":    {candidate("a", 1, suite(2)), candidate("b", 2, suite(2))},
		"only last-resort ones so far": {candidate("m", 1, lastResort), candidate("n", 2, lastResort)},
	} {
		s := &stock{
			documents: append(documents, last), newest: map[string]bool{"z": true}, beyondGap: map[string]bool{"z": true},
		}
		unit := ask("r", 3, ofSuite(1))
		if plan, err := decide([]Unit{unit}, handedOut(99), s, generous, now); !errors.Is(err, errMoreStock) {
			t.Errorf("%s: %v, consumed %v", name, err, consumed(plan))
		}
	}
	alone := &stock{documents: []*keypackage.Candidate{candidate("a", 1)}, newest: map[string]bool{}}
	if plan, err := decide([]Unit{ask("r", 3)}, handedOut(99), alone, generous, now); !errors.Is(err, errMoreStock) {
		t.Errorf("nothing is known to remain: %v, consumed %v", err, consumed(plan))
	}
}
