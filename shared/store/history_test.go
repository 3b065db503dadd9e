package store_test

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A request that has created one delivery, whose claim is gone, and has joined another, next to those of other requests.
func TestHistory(t *testing.T) {
	t.Parallel()
	w, c := newWorld(t), everybody(t)
	request, own, earlier := c.fromCarol.ID, fixture.ID(c.consumed), c.earlierFromCarol.ID
	created, joined := keypackage.DeliveryID(request, own), keypackage.DeliveryID(earlier, fixture.ID(c.joined))
	delivery := func(id string, age time.Duration, p keypackage.Document) keypackage.Delivery {
		return keypackage.Delivery{
			Requester: c.carol.Pubkey, Owner: c.bob.Pubkey, PackageID: fixture.ID(p), RequestID: id, Hash: hashOf(p),
			RequestIDs: []string{id}, Package: p, State: keypackage.StatePending, CreatedAt: w.now.Add(-age), ExpiresAt: w.now,
		}
	}
	deleted := w.now.Add(-time.Second)
	w.Put(fixture.Documents{
		w.Collections.Requests + "/" + request: map[string]any{
			"event": c.fromCarol.Event, "kind": 447, "received_at": w.now, "open": 7, "outcome": map[string]any{"status": "granted"},
		},
		w.claimPath(request, c.bob.Pubkey): keypackage.Claim{
			RequestID: request, Owner: c.bob.Pubkey, DeliveryIDs: []string{joined, keypackage.DeliveryID(request, "gone")},
		},
		w.claimPath(earlier, c.bob.Pubkey):                  keypackage.Claim{RequestID: earlier, Owner: c.bob.Pubkey},
		w.deliveryPath(created):                             delivery(request, time.Minute, c.consumed),
		w.deliveryPath(joined):                              delivery(earlier, time.Hour, c.joined),
		w.deliveryPath(keypackage.DeliveryID(earlier, own)): delivery(earlier, 0, c.consumed),
		w.ledgerPath(c.consumed):                            keypackage.Ledger{Use: keypackage.UseOneTime, DeliveryID: created},
		w.Collections.Tombstones + "/" + keypackage.TombstoneID(own, c.bob.Pubkey): map[string]any{"deleted_at": deleted},
	})

	h := must(w.store.History(t.Context(), request))(t)
	if r := h.Request; r == nil || r.ID != request || !r.ReceivedAt.Equal(w.now) || !r.Open || r.Outcome != "granted" || r.Stored.IsZero() {
		t.Errorf("the document: %+v", r)
	}
	if len(h.Answer.Claims) != 1 || h.Answer.RequestID() != request {
		t.Errorf("answer: %+v", h.Answer)
	}
	if len(h.Deliveries) != 2 || h.Deliveries[0].ID != joined || h.Deliveries[1].ID != created {
		t.Fatalf("deliveries: %+v", h.Deliveries)
	}
	if d := h.Deliveries[0]; d.Tombstoned || d.Ledger != nil {
		t.Errorf("what it has joined: %+v", d)
	}
	d := h.Deliveries[1]
	if !d.Tombstoned || !d.DeletedAt.Equal(deleted) || d.Ledger == nil || d.Ledger.DeliveryID != created || d.Ledger.Hash != hashOf(c.consumed) {
		t.Errorf("what it has created: %+v", d)
	}
	if none := must(w.store.History(t.Context(), own))(t); none.Request != nil || !none.Answer.Empty() || len(none.Deliveries) != 0 {
		t.Errorf("of an unknown request: %+v", none)
	}
}
