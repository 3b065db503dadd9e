package store_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const deliveryTTL = 5 * time.Minute

// population is who and what appears in these tests. Making it takes many signatures, so all tests share it.
type population struct {
	bob, alice, carol actors.Key

	// Bob's stock, named after what becomes of it in the plan.
	consumed, reserve, reserveAgain, remaining, remainingReserve, tombstoned, usedUp, expired, flawed keypackage.Document
	joined                                                                                            keypackage.Document // Carol's, not in stock

	fromAlice, fromCarol keypackage.RequestDocument // Carol's asks for the same as her earlier one
	earlierFromCarol     keypackage.RequestDocument

	inspected map[string]*keypackage.Package // by event id
}

var (
	populationOnce  sync.Once
	populationValue *population
)

func everybody(t *testing.T) *population {
	t.Helper()
	populationOnce.Do(func() { populationValue = newPopulation(t) })
	return populationValue
}

func newPopulation(t *testing.T) *population {
	c := &population{bob: actors.NewKey(), alice: actors.NewKey(), carol: actors.NewKey()}
	packages := fixture.Packages(t, c.bob, 9)
	for i, p := range []*keypackage.Document{
		&c.consumed, &c.reserve, &c.reserveAgain, &c.remaining, &c.remainingReserve, &c.tombstoned, &c.usedUp, &c.flawed, &c.joined,
	} {
		*p = packages[i]
	}
	c.flawed[keypackage.FieldOwner] = c.bob.Pubkey
	c.flawed[keypackage.FieldEvent] = "not an event"
	c.expired = must(fixture.NewPackage(c.bob, time.Now(), mlsgen.Options{NotAfter: time.Now().Add(-time.Minute)}))(t)
	c.fromAlice = fixture.Request(t, c.alice, c.question())
	c.fromCarol, c.earlierFromCarol = fixture.Request(t, c.carol, c.question()), fixture.Request(t, c.carol, c.question())
	c.inspected = make(map[string]*keypackage.Package)
	for _, p := range append(c.stock(), c.joined) {
		inspected := keypackage.Inspect(fixture.ID(p), p, keypackage.PolicyStrict)
		c.inspected[fixture.ID(p)] = &inspected
	}
	return c
}

func (c *population) question() actors.Question {
	return actors.Question{Owners: []string{c.bob.Pubkey}, Min: 2}
}

func (c *population) stock() []keypackage.Document {
	return []keypackage.Document{
		c.consumed, c.reserve, c.reserveAgain, c.remaining, c.remainingReserve, c.tombstoned, c.usedUp, c.expired, c.flawed,
	}
}

// claims is a world in which the plan of one claim relies on, creates, changes and removes something of every kind.
// Alice asks for the first time and takes from stock; Carol asks again and joins her open delivery.
type claims struct {
	*world
	*population
	units []claiming.Unit
	plan  *claiming.Plan
}

func newClaims(t *testing.T) *claims {
	t.Helper()
	s := &claims{world: newWorld(t), population: everybody(t)}
	s.PutPackages(s.stock()...)
	s.Put(s.history())
	s.units = []claiming.Unit{
		{Request: parse(t, s.fromAlice), Owner: s.bob.Pubkey},
		{Request: parse(t, s.fromCarol), Owner: s.bob.Pubkey},
	}
	s.plan = s.decide()
	return s
}

// history is what earlier claims have left.
func (s *claims) history() fixture.Documents {
	earlier := parse(s.t, s.earlierFromCarol)
	delivery := s.delivery(earlier, s.joined)
	pair := keypackage.Pair{Requester: s.carol.Pubkey, Owner: s.bob.Pubkey, Open: []keypackage.OpenDelivery{
		{DeliveryID: delivery.ID, Ask: earlier.Ask, ExpiresAt: delivery.ExpiresAt},
	}}
	owner := keypackage.Owner{Pubkey: s.bob.Pubkey}
	owner.HandedOut = owner.HandedOut.Add(s.now, 1)
	return fixture.Documents{
		s.tombstonePath(fixture.ID(s.tombstoned), s.bob.Pubkey): map[string]any{keypackage.FieldEventID: fixture.ID(s.tombstoned)},
		s.ledgerPath(s.usedUp):                        s.entry(s.usedUp, keypackage.UseOneTime),
		s.ledgerPath(s.reserveAgain):                  s.entry(s.reserveAgain, keypackage.UseReserve),
		s.ledgerPath(s.remainingReserve):              s.entry(s.remainingReserve, keypackage.UseReserve),
		s.ledgerPath(s.joined):                        s.entry(s.joined, keypackage.UseOneTime),
		s.deliveryPath(delivery.ID):                   delivery,
		s.pairPath(s.carol.Pubkey, s.bob.Pubkey):      pair,
		s.ownerPath(s.bob.Pubkey):                     owner,
		s.claimPath(earlier.ID, s.bob.Pubkey):         s.claim(earlier, delivery),
		s.Collections.Requests + "/" + s.fromAlice.ID: map[string]any{keypackage.FieldEvent: s.fromAlice.Event, keypackage.FieldOpen: 3},
	}
}

func (s *claims) delivery(req *keypackage.Request, p keypackage.Document) *keypackage.Delivery {
	return keypackage.NewDelivery(req, s.inspected[fixture.ID(p)], false, deliveryTTL, s.now)
}

func (s *claims) entry(p keypackage.Document, use keypackage.Use) keypackage.Ledger {
	return keypackage.NewLedger(s.inspected[fixture.ID(p)], use, "some delivery", s.now)
}

func (s *claims) claim(req *keypackage.Request, deliveries ...*keypackage.Delivery) keypackage.Claim {
	claim := keypackage.Claim{
		RequestID: req.ID, Requester: req.Requester, Owner: s.bob.Pubkey, Owners: req.Owners, Requested: req.Min,
		Status: keypackage.StatusFull, Authentic: true, CreatedAt: s.now, KeepUntil: s.now.Add(time.Hour),
	}
	for _, d := range deliveries {
		claim.Granted++
		claim.DeliveryIDs = append(claim.DeliveryIDs, d.ID)
	}
	return claim
}

// candidates reads Bob's stock, by event id.
func (s *claims) candidates() map[string]*keypackage.Candidate {
	s.t.Helper()
	byID := make(map[string]*keypackage.Candidate)
	for _, c := range must(s.store.Oldest(s.t.Context(), s.bob.Pubkey, nil, 100))(s.t) {
		byID[c.ID] = c
	}
	return byID
}

// decide reads what a claim reads, and plans something of every kind.
func (s *claims) decide() *claiming.Plan {
	s.t.Helper()
	view := must(s.store.View(s.t.Context(), s.bob.Pubkey, s.units))(s.t)
	stock := s.candidates()
	find := func(p keypackage.Document) *keypackage.Candidate { return stock[fixture.ID(p)] }
	alice, carol := s.units[0].Request, s.units[1].Request

	consumed := keypackage.NewDelivery(alice, &find(s.consumed).Package, false, deliveryTTL, s.now)
	reserve := keypackage.NewDelivery(alice, &find(s.reserve).Package, true, deliveryTTL, s.now)
	again := keypackage.NewDelivery(carol, &find(s.reserveAgain).Package, true, deliveryTTL, s.now)
	joined := slices.Collect(maps.Values(view.Open))[0].Delivery
	joined.Join(carol.ID)

	view.Owner.Stocked = true
	plan := &claiming.Plan{
		Owner: view.Owner, WriteOwner: true,
		Claims:  []keypackage.Claim{s.claim(alice, consumed, reserve), s.claim(carol, &joined, again)},
		Created: []*keypackage.Delivery{consumed, reserve, again},
		Joined:  []*keypackage.Delivery{&joined},
		Consumed: []claiming.Handout{{
			Candidate: find(s.consumed), NewUse: true,
			Ledger: keypackage.NewLedger(&find(s.consumed).Package, keypackage.UseOneTime, consumed.ID, s.now),
		}},
		Reserves: []claiming.Handout{
			{
				Candidate: find(s.reserve), NewUse: true,
				Ledger: keypackage.NewLedger(&find(s.reserve).Package, keypackage.UseReserve, reserve.ID, s.now),
			},
			{
				Candidate: find(s.reserveAgain),
				Ledger:    keypackage.NewLedger(&find(s.reserveAgain).Package, keypackage.UseReserve, again.ID, s.now),
			},
		},
		Remaining: []*keypackage.Candidate{find(s.remaining), find(s.remainingReserve)},
		Removed:   []*keypackage.Candidate{find(s.tombstoned), find(s.usedUp), find(s.expired)},
		Flagged:   []*keypackage.Candidate{find(s.flawed)},
	}
	plan.Owner.HandedOut = plan.Owner.HandedOut.Add(s.now, 1)
	for _, u := range s.units {
		pair := view.Pairs[u.Request.Requester]
		pair.Requester, pair.Owner = u.Request.Requester, u.Owner
		pair.Requests = pair.Requests.Add(s.now, 1)
		plan.Pairs = append(plan.Pairs, pair)
	}
	return plan
}
