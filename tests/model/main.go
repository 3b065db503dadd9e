// Command model checks the design of claim and delivery formally: spin searches the Promela models next to it exhaustively, and every
// mutation, a model with one rule taken away, which must fail. It needs spin and a C compiler and takes some minutes:
//
//	go run ./tests/model
//
// It exits 0 only if every model holds and every mutation is caught by the invariant that it is meant to break. checks.go lists
// them; the models say which step of the code each of their steps stands for.
package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync/atomic"
	"text/tabwriter"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

//go:embed *.pml
var models embed.FS

func main() { command.Main("model", run) }

// run searches as many models at once as there are processors, and says on standard error how far it is.
func run(ctx context.Context, args []string) error {
	if err := command.Parse(flag.NewFlagSet("model", flag.ContinueOnError), args); err != nil {
		return err
	}
	for _, tool := range []string{"spin", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed; on Debian: apt-get install spin gcc", tool)
		}
	}
	reports := make([]report, len(checks))
	var done atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i, c := range checks {
		group.Go(func() error {
			r := search(ctx, c)
			reports[i] = r
			fmt.Fprintf(os.Stderr, "%d of %d, %s: %s (%s)\n", done.Add(1), len(checks), c.model, c.title, r.verdict)
			if !r.expected {
				return errors.New("not every model held, or not every mutation was caught")
			}
			return nil
		})
	}
	err := group.Wait()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nMODEL\tCASE\tSTATES\tDEPTH\tRESULT")
	for _, r := range reports {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.model, r.title, r.states, r.depth, r.verdict)
	}
	_ = w.Flush()
	return err
}

// search runs one check in a directory of its own, which stays for a replay unless the result is the expected one.
func search(ctx context.Context, c check) report {
	dir, err := os.MkdirTemp("", "model-"+c.model+"-")
	if err != nil {
		return judge(c, dir, nil, err)
	}
	out, err := explore(ctx, dir, c)
	r := judge(c, dir, out, err)
	if r.expected {
		_ = os.RemoveAll(dir)
	}
	return r
}

// explore generates the verifier, compiles and runs it, and returns what that says. The states are stored in full (COLLAPSE is
// lossless); the memory limit is in MB. -E: the processes of a model wait for ever; that is not a deadlock.
func explore(ctx context.Context, dir string, c check) (out []byte, err error) {
	if err := os.CopyFS(dir, models); err != nil {
		return nil, err
	}
	generate := []string{"spin", "-a"}
	for _, d := range c.defines {
		generate = append(generate, "-D"+d)
	}
	for _, tool := range [][]string{
		append(generate, c.model+".pml"),
		{"cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=4096", "-o", "pan", "pan.c"},
		{"./pan", "-E", "-n", "-m100000"},
	} {
		cmd := exec.CommandContext(ctx, tool[0], tool[1:]...)
		cmd.Dir = dir
		if out, err = cmd.CombinedOutput(); err != nil {
			return out, fmt.Errorf("%s in %s: %w: %s", tool[0], dir, err, out)
		}
	}
	return out, nil
}

// report is what came of one check. Expected is that a model holds, every state visited, and a mutation is caught.
type report struct {
	check
	states, depth, verdict string
	expected               bool
}

// judge reads what spin has said in a directory.
func judge(c check, dir string, out []byte, err error) report {
	said := func(pattern string) string {
		if m := regexp.MustCompile(pattern).FindSubmatch(out); m != nil {
			return string(m[1])
		}
		return ""
	}
	violated := said(`assertion violated (.+) \(at depth`)
	complete := bytes.Contains(out, []byte("errors: 0")) && !bytes.Contains(out, []byte("not completed")) &&
		!bytes.Contains(out, []byte("max search depth too small"))
	r := report{check: c, states: said(`(\d+) states, stored`), depth: said(`depth reached (\d+)`)}
	switch {
	case err != nil:
		r.verdict = "FAILED: " + err.Error()
	case violated == "" && c.breaks != "":
		r.verdict = "FAILED: NOT CAUGHT by " + c.breaks
	case violated != c.breaks:
		r.verdict = fmt.Sprintf("FAILED: %s violated; replay: cd %s && ./pan -r -n", violated, dir)
	case violated != "":
		r.verdict, r.expected = "caught by "+c.breaks, true
	case !complete:
		r.verdict = "FAILED: search not complete, see " + dir
	default:
		r.verdict, r.expected = "holds", true
	}
	return r
}
