package serving_test

import (
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// What nobody listened for was written to nobody, and is back in stock in the end, in its old place.
func TestWhatNobodyListenedForReturns(t *testing.T) {
	for name, before := range map[string][]string{
		"its subscription was closed": {listens("a"), `["CLOSE","a"]`}, "it had none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			bob, gateway := actors.NewKey(), w.start()
			stock := w.stocked(bob, 3)
			alice := gateway.login(actors.NewKey())
			request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
			alice.send(append(slices.Clone(before), publish(request))...)
			if before != nil {
				alice.await("EOSE")
			}
			alice.accepted(request.ID)
			w.eventually("the push has ended", func() bool {
				d := w.deliveries()
				return len(d) == 1 && d[0]["last_result"] == "no_subscription"
			})
			if left := w.inStock(); len(left) != 2 || slices.Contains(left, stock[0]) {
				t.Errorf("in stock meanwhile are %v", left)
			}
			w.tick(w.DeliveryTTL + keypackage.Fence + time.Second)
			if d := w.deliveries(); d[0]["state"] != "expired" || d[0]["exposure_unknown"] != false {
				t.Errorf("delivery %v", d)
			}
			if left := w.inStock(); len(left) != 3 {
				t.Errorf("in stock are %v", left)
			}
			alice.send(listens("late"))
			for range 2 { // the EOSE and, whenever it comes, the outcome
				if parts := alice.next(); parts[0] == "EVENT" {
					if e := alice.verified(parts[2]); e.Kind != keypackage.KindOutcome {
						t.Errorf("was sent %v", e)
					}
				}
			}
			alice.nothing()
			if ids := gateway.login(actors.NewKey()).ask("a", bob); len(ids) != 1 || ids[0] != stock[0] {
				t.Errorf("the next requester was given %v", ids)
			}
		})
	}
}

// tick has the scheduled function end what has ended by then.
func (w *world) tick(later time.Duration) {
	w.t.Helper()
	ahead := func() time.Time { return time.Now().Add(later) }
	expirer := expiring.New(w.Store(), nil, nil, nil, expiring.Settings{Mode: keypackage.ModeOff}, ahead)
	if _, err := expirer.Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}
