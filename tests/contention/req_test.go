package contention

import (
	"slices"
	"sync"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// subscribe has requesters ask for an owner's package by REQ, all at once, the i-th at those instances at the same moment, and
// returns what each was granted.
func (s *world) subscribe(requesters []string, owner string, instancesOf func(i int) []*claiming.Claimer) []claiming.Granted {
	s.t.Helper()
	start := make(chan struct{})
	var group sync.WaitGroup
	var mu sync.Mutex
	var all []claiming.Granted
	for i, requester := range requesters {
		for _, instance := range instancesOf(i) {
			group.Go(func() {
				<-start
				for range deliveryAttempts {
					granted, _, err := instance.ClaimForREQ(s.t.Context(), requester, owner, false)
					if err != nil {
						continue
					}
					mu.Lock()
					defer mu.Unlock()
					all = append(all, granted)
					return
				}
				s.t.Errorf("the REQ of %s is never served", requester)
			})
		}
	}
	close(start)
	group.Wait()
	s.t.Logf("%d REQs; %d races lost", len(all), s.conflicts.Load())
	return all
}

func strangers(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = actors.NewKey().Pubkey
	}
	return keys
}

// checkBegun checks that every delivery is under way for whoever claimed it, and for nobody else.
func (s *world) checkBegun(o *outcome, all []claiming.Granted) {
	s.t.Helper()
	begun := make(map[string]string)
	for _, granted := range all {
		for _, d := range granted.Begun {
			if other, ok := begun[d.ID]; ok {
				s.t.Errorf("the push of %s was begun for %s and for %s", d.ID, other, granted.Holder)
			}
			begun[d.ID] = granted.Holder
		}
	}
	for id, d := range o.deliveries {
		if d.State != keypackage.StateSending || d.PushNo != 1 || d.LeaseBy == "" || begun[id] != d.LeaseBy {
			s.t.Errorf("delivery %s: %s, push %d, held by %q, begun for %q", id, d.State, d.PushNo, d.LeaseBy, begun[id])
		}
	}
}

// There is one package more than requesters: each REQ brings one of its own, and one package is left.
func TestFiftyREQsForFiftyOnePackages(t *testing.T) {
	t.Parallel()
	s, bob := newWorld(t), actors.NewKey()
	s.PutPackages(fixture.Packages(t, bob, 51)...)
	all := s.subscribe(strangers(50), bob.Pubkey, s.one)

	o := s.audit(nil)
	s.expect(o, counts{stock: 1, oneTime: 50, full: 50})
	s.checkBegun(o, all)
}

// There are too few packages: nine, and the reserve for the rest.
func TestFiftyREQsForTenPackages(t *testing.T) {
	t.Parallel()
	s, bob := newWorld(t), actors.NewKey()
	s.PutPackages(fixture.Packages(t, bob, 10)...)
	all := s.subscribe(strangers(50), bob.Pubkey, s.one)

	o := s.audit(nil)
	s.expect(o, counts{stock: 1, oneTime: 9, reserves: 41, full: 50})
	s.checkBegun(o, all)
}

// Two connections of one requester at two instances ask at the same moment: both bring the same package.
func TestTwoREQsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	for range 10 {
		owner := actors.NewKey()
		s.PutPackages(fixture.Packages(t, owner, 3)...)
		all := s.subscribe(strangers(1), owner.Pubkey, s.both)
		if len(all) != 2 || !slices.Equal(all[0].Answer.Claims[0].DeliveryIDs, all[1].Answer.Claims[0].DeliveryIDs) {
			t.Errorf("granted %+v", all)
		}
		if begun := len(all[0].Begun) + len(all[1].Begun); begun != 1 {
			t.Errorf("%d pushes begun", begun)
		}
	}
	s.expect(s.audit(nil), counts{stock: 10 * 2, oneTime: 10, full: 10})
}

// REQs and 447s of many for one owner: everybody gets one of their own, whichever way they ask.
func TestREQsAmong447s(t *testing.T) {
	t.Parallel()
	s, bob := newWorld(t), actors.NewKey()
	s.PutPackages(fixture.Packages(t, bob, 41)...)
	requests := s.ask(20, actors.Question{Owners: []string{bob.Pubkey}})
	var both sync.WaitGroup
	both.Go(func() { s.claim(requests, s.one) })
	both.Go(func() { s.subscribe(strangers(20), bob.Pubkey, s.one) })
	both.Wait()

	s.expect(s.audit(requests), counts{stock: 1, oneTime: 40, full: 40})
}

// A REQ and then two 447s of the same requester: the first joins what the REQ was given, though it was delivered.
func TestTwo447sAfterAREQ(t *testing.T) {
	t.Parallel()
	s, bob, alice := newWorld(t), actors.NewKey(), actors.NewKey()
	s.PutPackages(fixture.Packages(t, bob, 5)...)
	granted := s.subscribe([]string{alice.Pubkey}, bob.Pubkey, s.one)[0].Begun[0].Delivery
	granted.Finish(granted.PushNo, keypackage.ResultDelivered, granted.CreatedAt)
	if err := s.Store().SaveResults(t.Context(), []*keypackage.Delivery{&granted}); err != nil {
		t.Fatal(err) // with the version that the claim's commit has given it
	}
	question := actors.Question{Owners: []string{bob.Pubkey}}
	requests := []keypackage.RequestDocument{fixture.Request(t, alice, question), fixture.Request(t, alice, question)}
	s.claim(requests, s.one) // at the same moment: one of them is the first

	joined := 0
	o := s.outcome()
	for _, claim := range o.claims {
		if claim.RequestID != granted.RequestID && slices.Contains(claim.DeliveryIDs, granted.ID) {
			joined++
		}
	}
	if s.expect(o, counts{stock: 3, oneTime: 2, full: 3}); joined != 1 {
		t.Errorf("%d of two 447s joined what the REQ was given", joined)
	}
}
