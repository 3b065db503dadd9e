package simulation

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
)

func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	on := emulators{NewBackends(t, atOnce), NewBroker(t)}
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
	backends *Backends
	broker   *Broker
}

// row is a flow's line of the table.
type row struct {
	flow       string
	calls      []Point
	struck     map[Kind]int // faults that really happened
	violations int
}

// failEverywhere plays the flow once for each of its calls and each way in which it can fail.
func (f flow) failEverywhere(t *testing.T, on emulators) row {
	kinds := UncertainKindsOf
	if *every {
		kinds = KindsOf
	}
	r := row{flow: f.name, struck: make(map[Kind]int)}
	recorded := new(Invocation)
	f.play(t, on, recorded)
	r.calls = recorded.Calls()
	var mu sync.Mutex
	t.Run("faults", func(t *testing.T) {
		for _, call := range r.calls {
			for _, kind := range kinds(call) {
				t.Run(fmt.Sprint(call, " ", kind), func(t *testing.T) {
					t.Parallel()
					i := new(Invocation)
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
func (f flow) play(t *testing.T, on emulators, i *Invocation) []string {
	t.Helper()
	ctx := context.Background()
	messages, err := on.broker.NewTopic(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(on.backends, Options{Topic: messages})
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
	for _, kind := range Kinds {
		fmt.Fprint(w, kind, "\t")
	}
	fmt.Fprintln(w, "violations")
	sum := row{flow: "all", struck: make(map[Kind]int)}
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
	for _, kind := range Kinds {
		fmt.Fprint(w, r.struck[kind], "\t")
	}
	fmt.Fprintln(w, r.violations)
}
