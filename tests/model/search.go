package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

//go:embed *.pml
var models embed.FS

// report is what spin said about one check.
type report struct {
	check
	states   int
	depth    int
	violated string // name of the violated invariant
	complete bool   // every reachable state was visited
	err      error
	dir      string // kept for a replay when the result is not the expected one
}

// problem says what is wrong with the result, or "".
func (r report) problem() string {
	switch {
	case r.err != nil:
		return r.err.Error()
	case r.violated != r.breaks && r.violated != "":
		return fmt.Sprintf("%s violated; replay: cd %s && ./pan -r -n", r.violated, r.dir)
	case r.breaks != "" && r.violated == "":
		return "NOT CAUGHT by " + r.breaks
	case r.breaks == "" && !r.complete:
		return "search not complete, see " + r.dir
	}
	return ""
}

func (r report) verdict() string {
	switch {
	case r.problem() != "":
		return "FAILED: " + r.problem()
	case r.breaks != "":
		return "caught by " + r.breaks
	}
	return "holds"
}

// search runs one check in a directory of its own, which it removes if the result
// is the expected one.
func search(ctx context.Context, c check) report {
	dir, err := os.MkdirTemp("", "model-"+c.model+"-")
	if err != nil {
		return report{check: c, err: err}
	}
	out, err := explore(ctx, dir, c)
	r := parse(c, out)
	r.dir, r.err = dir, err
	if r.problem() == "" {
		os.RemoveAll(dir)
	}
	return r
}

// explore generates the verifier, compiles and runs it. The states are stored in
// full (COLLAPSE is lossless); the memory limit is in MB.
func explore(ctx context.Context, dir string, c check) ([]byte, error) {
	source, err := models.ReadFile(c.model + ".pml")
	if err != nil {
		return nil, err
	}
	file := c.model + ".pml"
	if err := os.WriteFile(filepath.Join(dir, file), source, 0o600); err != nil {
		return nil, err
	}
	generate := []string{"-a"}
	for _, d := range c.defines {
		generate = append(generate, "-D"+d)
	}
	if _, err := tool(ctx, dir, "spin", append(generate, file)...); err != nil {
		return nil, err
	}
	if _, err := tool(ctx, dir, "cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=4096", "-o", "pan", "pan.c"); err != nil {
		return nil, err
	}
	// -E: the processes of a model wait for ever; that is not a deadlock.
	return tool(ctx, dir, "./pan", "-E", "-n", "-m100000")
}

func tool(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%s in %s: %w: %s", name, dir, err, out)
	}
	return out, nil
}

var (
	violatedLine = regexp.MustCompile(`assertion violated (.+) \(at depth`)
	statesLine   = regexp.MustCompile(`(\d+) states, stored`)
	depthLine    = regexp.MustCompile(`depth reached (\d+)`)
)

func parse(c check, out []byte) report {
	r := report{check: c, states: number(statesLine, out), depth: number(depthLine, out)}
	if m := violatedLine.FindSubmatch(out); m != nil {
		r.violated = string(m[1])
	}
	r.complete = bytes.Contains(out, []byte("errors: 0")) && !bytes.Contains(out, []byte("not completed")) &&
		!bytes.Contains(out, []byte("max search depth too small"))
	return r
}

func number(line *regexp.Regexp, out []byte) int {
	m := line.FindSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
