package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/fixture"
)

// expiring.Store: Sweep returns the state of the walk; the zero value if there was none. SaveSweep saves it, provided
// that it has not changed since it was read.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := must(w.store.Sweep(t.Context()))(t)
	equal(t, "before the first walk", first, expiring.Sweep{})

	first.Cursor, first.OffNow = w.now, true
	first.Off = []expiring.Off{{Since: w.now.Add(-time.Minute), Until: w.now}}
	w.must(w.store.SaveSweep(t.Context(), first))
	second := must(w.store.Sweep(t.Context()))(t)
	first.Version = second.Version
	equal(t, "saved", second, first)

	w.writesNothing(func() error { return w.store.SaveSweep(t.Context(), expiring.Sweep{Cursor: w.now.Add(time.Hour)}) })

	second.Cursor, second.Off, second.OffNow = w.now.Add(time.Second), nil, false
	w.must(w.store.SaveSweep(t.Context(), second))
	third := must(w.store.Sweep(t.Context()))(t)
	second.Version = third.Version
	equal(t, "saved again", third, second)

	w.writesNothing(func() error { return w.store.SaveSweep(t.Context(), first) })
}

// Requests returns up to limit documents received after `from` and not after `to`, from behind `after`, in the order of
// their receipt.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(id string, received any) {
		w.Put(fixture.Documents{w.Collections.Requests + "/" + id: map[string]any{
			keypackage.FieldReceivedAt: received, keypackage.FieldKind: keypackage.KindRequest, keypackage.FieldEvent: id,
		}})
	}
	put("too early", w.now)
	var want []string
	for i, after := range []time.Duration{1, 2, 2, 2, 3} { // three at the same time
		id := fmt.Sprint(i)
		put(id, w.now.Add(after*time.Second))
		want = append(want, id)
	}
	put("too late", w.now.Add(3*time.Second+time.Microsecond))
	put("unreadable", "yesterday")

	var got []string
	var last *keypackage.RequestDocument
	for {
		page := must(w.store.Requests(t.Context(), w.now, w.now.Add(3*time.Second), last, 2))(t)
		for _, doc := range page {
			got = append(got, doc.ID)
		}
		if len(page) < 2 {
			break
		}
		last = &page[1]
	}
	equal(t, "pages", got, want)
	equal(t, "document", *last, keypackage.RequestDocument{
		ID: "3", Event: "3", Kind: keypackage.KindRequest, HasKind: true, ReceivedAt: w.now.Add(2 * time.Second),
	})
}
