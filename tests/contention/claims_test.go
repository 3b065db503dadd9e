package contention

import (
	"slices"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// There is one package more than requesters: each gets one of her own, and one is left.
func TestFiftyRequestersForFiftyOnePackages(t *testing.T) {
	t.Parallel()
	oneEach(t, 50)
}

// A hot owner.
func TestTwoHundredRequestersForOneOwner(t *testing.T) {
	t.Parallel()
	oneEach(t, 200)
}

func oneEach(t *testing.T, requesters int) {
	s := newWorld(t)
	bob := actors.NewKey()
	s.PutPackages(fixture.Packages(t, bob, requesters+1)...)
	requests := s.ask(requesters, actors.Question{Owners: []string{bob.Pubkey}})
	s.claim(requests, s.one)

	o := s.audit(requests)
	s.expect(o, counts{stock: 1, oneTime: requesters, full: requesters})
}

// There are too few packages: nine requesters get one of their own, and all others the reserve, marked as last resort.
func TestFiftyRequestersForTenPackages(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	bob := actors.NewKey()
	s.PutPackages(fixture.Packages(t, bob, 10)...)
	requests := s.ask(50, actors.Question{Owners: []string{bob.Pubkey}})
	s.claim(requests, s.one)

	o := s.audit(requests)
	s.expect(o, counts{stock: 1, oneTime: 9, reserves: 41, full: 50})
	for _, claim := range o.claims {
		if claim.Reserve != o.deliveries[claim.DeliveryIDs[0]].Reserve {
			t.Errorf("claim %s: last resort %t, its delivery otherwise", claim.ID(), claim.Reserve)
		}
	}
}

// Requests for several packages of several owners leave every owner one, whatever the order.
func TestRequestersForSeveralOwners(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	var owners []string
	for range 4 {
		owner := actors.NewKey()
		owners = append(owners, owner.Pubkey)
		s.PutPackages(fixture.Packages(t, owner, 12)...)
	}
	requests := s.ask(20, actors.Question{Owners: owners, Min: 2})
	s.claim(requests, s.one)

	o := s.audit(requests)
	// Of each owner's twelve, eleven are one-time. The request that gets the eleventh, and all after it, get the reserve too.
	s.expect(o, counts{stock: 4, oneTime: 4 * 11, reserves: 4 * 15, full: 4 * 6, partial: 4 * 14})
}

// The same event, delivered to both instances at the same moment, has one answer.
func TestSameEventByTwoInstances(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	var requests []keypackage.RequestDocument
	for range 10 {
		owner := actors.NewKey()
		s.PutPackages(fixture.Packages(t, owner, 5)...)
		requests = append(requests, s.ask(1, actors.Question{Owners: []string{owner.Pubkey}, Min: 3})...)
	}
	s.claim(requests, s.both)

	s.expect(s.audit(requests), counts{stock: 10 * 2, oneTime: 10 * 3, full: 10})
}

// The same question, asked again under a new event id at the same moment, joins the deliveries of the first and takes
// nothing from stock.
func TestSameQuestionAskedTwice(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	var requests []keypackage.RequestDocument
	for range 10 {
		owner, requester := actors.NewKey(), actors.NewKey()
		s.PutPackages(fixture.Packages(t, owner, 8)...)
		question := actors.Question{Owners: []string{owner.Pubkey}, Min: 3, Group: "g"}
		for range 2 {
			requests = append(requests, fixture.Request(t, requester, question))
		}
	}
	s.claim(requests, s.one) // the two of a pair go to different instances

	o := s.audit(requests)
	s.expect(o, counts{stock: 10 * 5, oneTime: 10 * 3, full: 20})
	byOwner := make(map[string][]string)
	for _, claim := range o.claims {
		slices.Sort(claim.DeliveryIDs)
		if first, ok := byOwner[claim.Owner]; ok && !slices.Equal(first, claim.DeliveryIDs) {
			t.Errorf("the same question has different deliveries: %v and %v", first, claim.DeliveryIDs)
		}
		byOwner[claim.Owner] = claim.DeliveryIDs
	}
	for id, d := range o.deliveries {
		if len(d.RequestIDs) != 2 {
			t.Errorf("delivery %s is for %d requests", id, len(d.RequestIDs))
		}
	}
}

// counts is what a race has to end in.
type counts struct {
	stock             int // documents left
	oneTime, reserves int // deliveries
	full, partial     int // claims
}

func (s *world) expect(o *outcome, want counts) {
	s.t.Helper()
	got := counts{stock: len(o.stock)}
	for _, d := range o.deliveries {
		if d.Reserve {
			got.reserves++
		} else {
			got.oneTime++
		}
	}
	for _, claim := range o.claims {
		switch claim.Status {
		case keypackage.StatusFull:
			got.full++
		case keypackage.StatusPartial:
			got.partial++
		}
	}
	if got != want {
		s.t.Errorf("got %+v, want %+v", got, want)
	}
}
