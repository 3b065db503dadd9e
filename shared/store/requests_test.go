package store_test

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// request stores a request document with that mark, received at that time; nil leaves a field out.
func (w *world) request(id string, open, received any) {
	w.t.Helper()
	fields := map[string]any{keypackage.FieldKind: keypackage.KindRequest, keypackage.FieldEvent: id}
	if open != nil {
		fields[keypackage.FieldOpen] = open
	}
	if received != nil {
		fields[keypackage.FieldReceivedAt] = received
	}
	w.Put(fixture.Documents{w.Collections.Requests + "/" + id: fields})
}

// expiring.Store: Marked goes through the request documents that have the mark and were received at or before that time.
func TestMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.request("first shard", 0, w.now)
	w.request("last shard", keypackage.Shards-1, w.now.Add(-time.Hour))
	w.request("too late", 7, w.now.Add(time.Microsecond))
	w.request("has its outcome", nil, w.now.Add(-time.Hour))
	w.request("no receipt", 7, nil)
	w.request("no shard", keypackage.Shards, w.now)
	w.request("text", "1", w.now)

	found := make(map[string]keypackage.RequestDocument)
	for _, doc := range all(t, w.store.Marked(t.Context(), w.now)) {
		found[doc.ID] = doc
	}
	equal(t, "found", len(found), 2)
	equal(t, "document", found["last shard"], keypackage.RequestDocument{
		ID: "last shard", Event: "last shard", Kind: keypackage.KindRequest, HasKind: true, ReceivedAt: w.now.Add(-time.Hour),
		Marked: true, Version: w.In(w.Collections.Requests)["last shard"].Updated,
	})
	equal(t, "first shard", found["first shard"].ID, "first shard")
}

// Unmark removes the mark and sets until when the document is kept, provided that it has not changed and that none of the
// claims exists.
func TestUnmark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.request("r", 5, w.now)
	doc := all(t, w.store.Marked(t.Context(), w.now))[0]
	claim := keypackage.Claim{RequestID: "r", Owner: "bob", Owners: []string{"bob"}}
	w.Put(fixture.Documents{w.claimPath("r", "bob"): claim})
	w.writesNothing(func() error { return w.store.Unmark(t.Context(), doc, []string{"r_", "r_bob"}) })

	w.must(w.store.Unmark(t.Context(), doc, []string{"r_", "r_carol"}))
	fields := w.In(w.Collections.Requests)["r"].Fields
	if _, ok := fields[keypackage.FieldOpen]; ok {
		t.Error("the mark is still there")
	}
	equal(t, "kept until", fields[keypackage.FieldKeepUntil], any(doc.KeepUntil()))
	equal(t, "the relay's field", fields[keypackage.FieldEvent], any("r"))
	equal(t, "found again", len(all(t, w.store.Marked(t.Context(), w.now))), 0)
	w.writesNothing(func() error { return w.store.Unmark(t.Context(), doc, nil) }) // it has changed
}
