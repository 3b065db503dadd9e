package abuse

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// tickReads is what a run may read that finds nothing to do: one for each query, of which lost requests, what is due, what
// waits and what may be retired take three each, because a query covers a third of the shards.
const tickReads = 15

// lostReads is what it may read for a lost request: the document, what its claim reads, and the delivery that waits now.
const lostReads = 16

// TestCostOfATick: what a run costs grows with what was lost, not with what was asked.
func TestCostOfATick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for asked := range 10 {
		w.answered(asked, 100)
	}
	w.PutPackages(fixture.Packages(t, w.bob, 20)...)
	idle := w.billedTick()
	if reads := total(idle.reads) + idle.empty; reads > tickReads {
		t.Errorf("with 1,000 requests, none of them lost, a run reads %d documents: %v, and %d queries find nothing", reads, idle.reads, idle.empty)
	}
	const lost = 3
	for range lost {
		request := fixture.Request(t, actors.NewKey(), actors.Question{Owners: []string{w.bob.Pubkey}})
		w.Put(fixture.Documents{w.Collections.Requests + "/" + request.ID: map[string]any{
			keypackage.FieldEvent: request.Event, keypackage.FieldKind: keypackage.KindRequest,
			keypackage.FieldReceivedAt: w.now().Add(-time.Minute), keypackage.FieldOpen: keypackage.NewMark(),
		}})
	}
	tick := w.billedTick()
	reads := total(tick.reads) + tick.empty
	t.Logf("1,000 requests answered: %d reads; and %d lost: %d reads (%v, %d queries that find nothing), %d writes",
		total(idle.reads)+idle.empty, lost, reads, tick.reads, tick.empty, total(tick.writes))
	if reads > tickReads+lost*lostReads {
		t.Errorf("a run that recovers %d reads %d documents", lost, reads)
	}
	for id, stored := range w.In(w.Collections.Requests) {
		if open, ok := stored.Fields[keypackage.FieldOpen]; ok {
			t.Errorf("%s has its mark %v still", id, open)
		}
	}
}

// answered stores requests that have their outcome, and deliveries that have ended.
func (w *world) answered(part, n int) {
	w.t.Helper()
	documents := make(fixture.Documents)
	for i := range n {
		id := fmt.Sprintf("%060d%02d%02d", 0, part, i)
		documents[w.Collections.Requests+"/"+id] = map[string]any{
			keypackage.FieldReceivedAt: w.now().Add(-time.Minute), keypackage.FieldKeepUntil: w.now().Add(time.Hour),
		}
		documents[w.Collections.Deliveries+"/"+id+"_k"] = keypackage.Delivery{
			State: keypackage.StateDelivered, ExpiresAt: w.now().Add(-time.Minute),
		}
	}
	w.Put(documents)
}

// billedTick runs the scheduled function once and returns what it read and wrote.
func (w *world) billedTick() *bill {
	w.t.Helper()
	var b bill
	b.reset()
	client, err := firestore.NewClientWithDatabase(w.t.Context(), w.Project, w.Database, option.WithGRPCConn(b.connect(w.t)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	documents := store.New(client, w.Collections, w.Policy)
	settings := expiring.Settings{Mode: w.Mode, RequestMaxAge: w.RequestMaxAge}
	if _, err := expiring.New(documents, recovering{w.newClaimer(documents)}, w, w, settings, w.now).Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return &b
}

// recovering is the claimer as the scheduled function sees it.
type recovering struct{ *claiming.Claimer }

// Recover implements expiring.Claimer.
func (r recovering) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	_, err := r.Claim(ctx, doc)
	return err
}
