// Package crashpoints makes every external call of every flow fail, one at a time and in each way that it can, and checks
// the promises on what is left after the platform's retries and the scheduled function. The calls are recorded from a run
// that goes well, so that a new call is covered by itself.
//
//	go test ./tests/crashpoints -v
package crashpoints

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/keypackage-delivery/keypackage-delivery/tests/faults"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
	"github.com/keypackage-delivery/keypackage-delivery/tests/stage"
)

func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	backends := stage.NewBackends(t, 6)
	rows := make([]row, len(flows))
	t.Run("flows", func(t *testing.T) {
		for n, f := range flows {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				rows[n] = f.failEverywhere(t, backends)
			})
		}
	})
	t.Log("\n" + table(rows))
}

// row is a flow's line of the table.
type row struct {
	flow       string
	calls      []faults.Point
	struck     map[faults.Kind]int // faults that really happened
	violations int
}

// failEverywhere plays the flow once for each of its calls and each way in which it can fail.
func (f flow) failEverywhere(t *testing.T, backends *stage.Backends) row {
	r := row{flow: f.name, struck: make(map[faults.Kind]int)}
	recorded := new(stage.Invocation)
	f.play(t, backends, recorded)
	r.calls = recorded.Calls()
	var mu sync.Mutex
	t.Run("faults", func(t *testing.T) {
		for _, call := range r.calls {
			for _, kind := range faults.Kinds {
				t.Run(fmt.Sprint(call, " ", kind), func(t *testing.T) {
					t.Parallel()
					i := new(stage.Invocation)
					i.Fault.At, i.Fault.Kind = call, kind
					violations := f.play(t, backends, i)
					mu.Lock()
					defer mu.Unlock()
					if i.Struck() {
						r.struck[kind]++
					}
					r.violations += len(violations)
				})
			}
		}
	})
	return r
}

// play plays the flow to its end and returns the promises that it broke.
func (f flow) play(t *testing.T, backends *stage.Backends, i *stage.Invocation) []invariants.Violation {
	t.Helper()
	ctx := context.Background()
	s, err := stage.New(backends, stage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.prepare(ctx, s)
	f.invoke(ctx, s, i)
	s.Settle(ctx, false)
	violations, err := s.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		t.Error(v)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return violations
}

func table(rows []row) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "flow\tcalls\t")
	for _, kind := range faults.Kinds {
		fmt.Fprint(w, kind, "\t")
	}
	fmt.Fprintln(w, "violations\t")
	for _, r := range rows {
		fmt.Fprint(w, r.flow, "\t", len(r.calls), "\t")
		for _, kind := range faults.Kinds {
			fmt.Fprint(w, r.struck[kind], "\t")
		}
		fmt.Fprintln(w, r.violations, "\t")
	}
	_ = w.Flush() // into memory
	return text.String()
}
