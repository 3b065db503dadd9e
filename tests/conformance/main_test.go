package main

import (
	"strings"
	"testing"
)

// Most rules say what must not arrive: a check that does not listen would find them all kept.
func TestAConformanceThatDoesNotListenIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-quiet", "0s"}, {"-quiet", "-1s"}, {"-slack", "-1s"}} {
		if _, err := readTarget(t.Context(), append(args, "-token", "t")); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
