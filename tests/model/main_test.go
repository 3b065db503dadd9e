package main

import (
	"context"
	"errors"
	"flag"
	"testing"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	const held = "State-vector 84 byte, depth reached 80, errors: 0\n  3393231 states, stored\n"
	const broken = "pan:1: assertion violated I1 (at depth 25)\nWarning: Search not completed\ndepth reached 68, errors: 1\n"
	const bounded = "error: max search depth too small\n" + held
	const noMemory = "Warning: Search not completed\n" + held
	for _, c := range []struct {
		name, breaks, out string
		fine              bool
	}{
		{"a model that holds", "", held, true},
		{"a model that fails", "", broken, false},
		{"a search that was too shallow", "", bounded, false},
		{"a search that ran out of memory", "", noMemory, false},
		{"a mutation caught", "I1", broken, true},
		{"a mutation caught by the wrong invariant", "I2", broken, false},
		{"a mutation that survives", "I1", held, false},
		{"no output", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := judge(check{breaks: c.breaks}, "", []byte(c.out), nil)
			if r.expected != c.fine {
				t.Errorf("%s, want fine = %v", r.verdict, c.fine)
			}
		})
	}
}

// A search takes minutes: who only asks for the flags, or mistypes one, does not start it.
func TestArgumentsStartNoSearch(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel() // should it start all the same
	for _, argument := range []string{"-h", "-fast", "claim"} {
		if err := run(ended, []string{argument}); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", argument, err)
		}
	}
}
