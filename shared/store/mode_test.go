package store_test

import (
	"context"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

var _ rollout.Document = (*store.Store)(nil)

// rollout.Document: Mode returns the word in the document, and whether there is a document at all.
func TestMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	says := func(word string, exists bool) {
		t.Helper()
		gotWord, gotExists, err := w.store.Mode(t.Context())
		w.must(err)
		equal(t, "mode", []any{gotWord, gotExists}, []any{word, exists})
	}
	says("", false)
	w.must(w.store.ClearMode(t.Context())) // what is not there can be cleared
	for _, mode := range []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve} {
		w.must(w.store.SetMode(t.Context(), mode))
		says(string(mode), true)
	}
	w.Put(fixture.Documents{w.Collections.Claims + "/mode": map[string]any{"mode": 7}})
	says("", true)
	w.must(w.store.ClearMode(t.Context()))
	says("", false)

	ended, end := context.WithCancel(t.Context())
	end()
	if _, _, err := w.store.Mode(ended); err == nil {
		t.Error("what could not be read is said not to be there")
	}
}
