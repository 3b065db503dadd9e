// Command model checks the design of claim and delivery formally: the Promela
// models next to it are searched exhaustively by spin, and so is every mutation,
// a model with one rule taken away, which must fail. It needs spin and a C
// compiler and takes a minute or two:
//
//	go run ./tests/model
//
// It exits 0 only if every model holds and every mutation is caught by the
// invariant that it is meant to break. The models say which step of the code each
// of their steps stands for.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	for _, tool := range []string{"spin", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed; on Debian: apt-get install spin gcc", tool)
		}
	}
	reports := checkAll(ctx, checks)
	printTable(reports)
	for _, r := range reports {
		if r.problem() != "" {
			return fmt.Errorf("not every model held, or not every mutation was caught")
		}
	}
	return nil
}

// checkAll searches as many models at once as there are processors and says on
// standard error how far it is.
func checkAll(ctx context.Context, checks []check) []report {
	reports := make([]report, len(checks))
	slots := make(chan struct{}, runtime.NumCPU())
	var done atomic.Int64
	var wg sync.WaitGroup
	for i, c := range checks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			reports[i] = search(ctx, c)
			fmt.Fprintf(os.Stderr, "%d of %d, %s: %s (%s)\n", done.Add(1), len(checks), c.model, c.title, reports[i].verdict())
		})
	}
	wg.Wait()
	return reports
}

func printTable(reports []report) {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODEL\tCASE\tSTATES\tDEPTH\tRESULT")
	for _, r := range reports {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", r.model, r.title, r.states, r.depth, r.verdict())
	}
	w.Flush()
}
