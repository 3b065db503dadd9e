// Package crashpoints makes every external call of every flow fail, one at a time and in each way that it can, and checks
// the promises on what is left after the platform's retries and the scheduled function. The calls are recorded from a run
// that goes well, so that a new call is covered by itself.
//
//	go test ./tests/crashpoints -v         # as part of go test ./...: after each call, what leaves the caller in the dark
//	go test ./tests/crashpoints -v -every  # every call in every way
package crashpoints

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/keypackage-delivery/keypackage-delivery/tests/faults"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
	"github.com/keypackage-delivery/keypackage-delivery/tests/simulation"
)

func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	on := emulators{simulation.NewBackends(t, atOnce), simulation.NewBroker(t)}
	rows := make([]row, len(flows))
	t.Run("flows", func(t *testing.T) {
		for n, f := range flows {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				rows[n] = f.failEverywhere(t, on)
			})
		}
	})
	t.Log("\n" + table(rows))
}

var every = flag.Bool("every", false, "make every call fail in every way")

// atOnce is how many plays run at once.
const atOnce = 6

type emulators struct {
	backends *simulation.Backends
	broker   *simulation.Broker
}

// row is a flow's line of the table.
type row struct {
	flow       string
	calls      []faults.Point
	struck     map[faults.Kind]int // faults that really happened
	violations int
}

// failEverywhere plays the flow once for each of its calls and each way in which it can fail.
func (f flow) failEverywhere(t *testing.T, on emulators) row {
	kinds := faults.UncertainKindsOf
	if *every {
		kinds = faults.KindsOf
	}
	r := row{flow: f.name, struck: make(map[faults.Kind]int)}
	recorded := new(simulation.Invocation)
	f.play(t, on, recorded)
	r.calls = recorded.Calls()
	var mu sync.Mutex
	t.Run("faults", func(t *testing.T) {
		for _, call := range r.calls {
			for _, kind := range kinds(call) {
				t.Run(fmt.Sprint(call, " ", kind), func(t *testing.T) {
					t.Parallel()
					i := new(simulation.Invocation)
					i.Fault.At, i.Fault.Kind = call, kind
					violations := f.play(t, on, i)
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
func (f flow) play(t *testing.T, on emulators, i *simulation.Invocation) []invariants.Violation {
	t.Helper()
	ctx := context.Background()
	messages, err := on.broker.NewTopic(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s, err := simulation.New(on.backends, simulation.Options{Topic: messages})
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
	if err := errors.Join(s.Close(), messages.Close()); err != nil {
		t.Error(err)
	}
	return violations
}

func table(rows []row) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "flow\tcalls\t")
	for _, kind := range faults.Kinds {
		fmt.Fprint(w, kind, "\t")
	}
	fmt.Fprintln(w, "violations")
	sum := row{flow: "all", struck: make(map[faults.Kind]int)}
	for _, r := range rows {
		r.print(w)
		sum.calls = append(sum.calls, r.calls...)
		sum.violations += r.violations
		for kind, n := range r.struck {
			sum.struck[kind] += n
		}
	}
	sum.print(w)
	_ = w.Flush() // into memory
	return text.String()
}

func (r row) print(w io.Writer) {
	fmt.Fprint(w, r.flow, "\t", len(r.calls), "\t")
	for _, kind := range faults.Kinds {
		fmt.Fprint(w, r.struck[kind], "\t")
	}
	fmt.Fprintln(w, r.violations)
}
