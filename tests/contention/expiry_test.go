package contention

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Expiry against delivery of the same documents. The rules keep the two apart by time; here the clock of the scheduled
// function is so far ahead that only the conditions of the writes are left. Whoever wins: what a requester may have seen
// never returns to stock, and what does return was seen by nobody.
func TestExpiryAgainstDelivery(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	var requests []keypackage.RequestDocument
	for range 20 {
		owner := actors.NewKey()
		s.PutPackages(fixture.Packages(t, owner, 2)...)
		requests = append(requests, s.ask(1, actors.Question{Owners: []string{owner.Pubkey}})...)
	}
	s.claim(requests, s.one)
	s.expect(s.audit(requests), counts{stock: 20, oneTime: 20, full: 20})

	relay := &fickleRelay{}
	s.deliverAndExpire(relay, requests)
	s.auditEnds(relay)
}

// deliverAndExpire lets two instances deliver every request while two others expire everything, and then ends what is
// still open.
func (s *world) deliverAndExpire(relay *fickleRelay, requests []keypackage.RequestDocument) {
	s.t.Helper()
	ahead := func() time.Time { return time.Now().Add(generous.DeliveryTTL + 2*keypackage.Fence) }
	newExpirer := func() *expiring.Expirer {
		// In mode off the scheduled function expires deliveries and does nothing else.
		return expiring.New(s.Store(), nil, nil, nil, expiring.Settings{Mode: keypackage.ModeOff}, ahead)
	}
	start := make(chan struct{})
	var group sync.WaitGroup
	for range 2 {
		deliverer, expirer := delivering.New(s.Store(), relay, keypackage.ModeDeliver, time.Now), newExpirer()
		group.Go(func() {
			<-start
			for _, request := range requests { // one after another, so that expiry meets every stage of a push
				if _, err := deliverer.ForRequest(s.t.Context(), keypackage.Announcement{RequestID: request.ID}); err != nil && !fault.IsRetryable(err) {
					s.t.Error(err)
				}
			}
		})
		group.Go(func() {
			<-start
			if _, err := expirer.Run(s.t.Context()); err != nil {
				s.t.Error(err)
			}
		})
	}
	close(start)
	group.Wait()
	if _, err := newExpirer().Run(s.t.Context()); err != nil {
		s.t.Error(err)
	}
}

// auditEnds checks that every delivery has ended, and that its end agrees with what the relay has sent.
func (s *world) auditEnds(relay *fickleRelay) {
	s.t.Helper()
	o := s.outcome()
	ends := make(map[string]int)
	for id, d := range o.deliveries {
		end := string(d.State)
		if d.State == keypackage.StateExpired {
			end = d.Reason
		}
		ends[end]++
		entry, used := o.ledger[d.Hash]
		switch inStock := slices.Contains(o.stock, d.PackageID); {
		case d.Open():
			s.t.Errorf("delivery %s is still %s", id, d.State)
		case inStock != (d.Reason == keypackage.ExpiredReturned):
			s.t.Errorf("delivery %s ended %s, package in stock: %t", id, end, inStock)
		case inStock && relay.mayHaveShown(id):
			s.t.Errorf("delivery %s may have been seen, and its package is back in stock", id)
		case inStock == used:
			s.t.Errorf("delivery %s: package in stock: %t, in the ledger as %q", id, inStock, entry.Use)
		case d.State == keypackage.StateDelivered && !relay.mayHaveShown(id):
			s.t.Errorf("delivery %s counts as delivered, and the relay has never sent it", id)
		}
	}
	s.t.Logf("ends: %v", ends)
}

// fickleRelay delivers a third of the deliveries, finds nobody for another, and breaks the connection at the rest.
type fickleRelay struct {
	mu      sync.Mutex
	answers map[string]keypackage.PushResult // by delivery; the same each time
}

var answers = []keypackage.PushResult{keypackage.ResultDelivered, keypackage.ResultNoSession, keypackage.ResultUnknown}

// Push implements delivering.Relay.
func (r *fickleRelay) Push(_ context.Context, push delivering.Push) delivering.Results {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil {
		r.answers = make(map[string]keypackage.PushResult)
	}
	answer := delivering.Results{Each: make(map[string]keypackage.PushResult)}
	for _, d := range push.Deliveries {
		if _, known := r.answers[d.ID]; !known {
			r.answers[d.ID] = answers[len(r.answers)%len(answers)]
		}
		answer.Each[d.ID] = r.answers[d.ID]
	}
	return answer
}

// mayHaveShown reports whether the requester may have received the delivery.
func (r *fickleRelay) mayHaveShown(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer, pushed := r.answers[id]
	return pushed && answer != keypackage.ResultNoSession
}
