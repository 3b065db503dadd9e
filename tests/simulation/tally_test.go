package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// Tally counts what came about in many plays, which shows whether they were worth playing. The zero value is empty; it is
// safe for concurrent use.
type Tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *Tally) add(run wholeRun, end invariants.State, happened map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	t.counts["histories"]++
	t.counts["requests"] += len(run.Requests)
	t.counts["events published"] += len(run.Uploads)
	t.counts["commits"] += len(run.commits)
	t.counts["pushes of a delivery"] += len(run.Pushes)
	t.counts["arrivals in a session"] += len(run.Received)
	deleted := make(map[string]bool)
	for _, commit := range run.commits {
		for _, w := range commit.writes {
			if w.collection == collections.Tombstones {
				deleted[w.id] = true
			}
		}
	}
	t.counts["events deleted"] += len(deleted)
	for what, n := range happened {
		t.counts[what] += n
	}
	for _, answer := range end.Answers {
		for _, claim := range answer.Claims {
			t.counts["claims: "+string(claim.Status)]++
		}
		if d := answer.Dismissal; d != nil {
			t.counts["dismissals: "+string(d.Outcome)]++
		}
	}
	for _, d := range end.Deliveries {
		what := "one-time"
		if d.Reserve {
			what = "reserve"
		}
		t.counts[fmt.Sprintf("deliveries: %s %s %s", what, d.State, d.Reason)]++
		if len(d.RequestIDs) > 1 {
			t.counts["deliveries that were joined"]++
		}
	}
}

// String lists the counts by name.
func (t *Tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(&text, "%8d %s\n", t.counts[name], name)
	}
	return text.String()
}
