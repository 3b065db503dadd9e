package main

import (
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// The switch is turned where the functions look for it.
func TestMode(t *testing.T) {
	t.Parallel()
	lookup := map[string]string{config.Project: emutest.Project(t)}
	settings, err := config.Load(func(name string) (string, bool) { value, ok := lookup[name]; return value, ok })
	if err != nil {
		t.Fatal(err)
	}
	documents, err := assembly.Store(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"off", "observe", "clear"} {
		if _, err := turn(t.Context(), documents, word); err != nil {
			t.Fatal(err)
		}
		got, exists, err := documents.Mode(t.Context())
		if err != nil || exists != (word != "clear") || (exists && got != word) {
			t.Errorf("after %s: %q, %v, %v", word, got, exists, err)
		}
		if said, err := turn(t.Context(), documents, "show"); err != nil || strings.Contains(said, "not set") == exists ||
			!strings.Contains(said, got) {
			t.Errorf("after %s: shown as %q, %v", word, said, err)
		}
	}
}

func TestModeTakesThreeWords(t *testing.T) {
	t.Setenv(config.Project, emutest.Project(t))
	for _, args := range [][]string{{}, {"deliver"}, {"off", "observe"}, {"OFF"}} {
		if err := operate(t.Context(), append([]string{"mode"}, args...)); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
