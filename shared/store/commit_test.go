package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// claiming.Store: "Commit writes the whole plan in one transaction".
func TestCommitWritesTheWholePlan(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	before := s.All()
	s.must(s.store.Commit(t.Context(), s.plan))
	after := s.All()

	for _, p := range []keypackage.Document{s.consumed, s.tombstoned, s.usedUp, s.expired} {
		if _, ok := after[s.stockPath(p)]; ok {
			t.Errorf("%s is still in stock", fixture.ID(p))
		}
	}
	for _, p := range []keypackage.Document{s.reserve, s.reserveAgain, s.remaining, s.remainingReserve} {
		equal(t, "a package that stays", after[s.stockPath(p)], before[s.stockPath(p)])
	}
	equal(t, "flaw", after[s.stockPath(s.flawed)].Fields[keypackage.FieldFlaw], any(keypackage.FlawEvent))
	equal(t, "use of the consumed", after[s.ledgerPath(s.consumed)].Fields["use"], any("one_time"))
	equal(t, "use of the reserve", after[s.ledgerPath(s.reserve)].Fields["use"], any("shared"))
	equal(t, "entry of the reserve handed out before", after[s.ledgerPath(s.reserveAgain)], before[s.ledgerPath(s.reserveAgain)])
	for _, d := range s.plan.Created {
		equal(t, "state of a new delivery", after[s.deliveryPath(d.ID)].Fields["state"], any("pending"))
	}
	s.checkRead()
}

// checkRead reads back through the contract what the plan said.
func (s *claims) checkRead() {
	s.t.Helper()
	view := must(s.store.View(s.t.Context(), s.bob.Pubkey, s.units))(s.t)
	equal(s.t, "budget used", view.Owner.HandedOut.Count(s.now), 2)
	equal(s.t, "stocked", view.Owner.Stocked, true)
	for i, u := range s.units {
		pair := view.Pairs[u.Request.Requester]
		equal(s.t, "requests of the pair", pair.Requests.Count(s.now), 1)
		found := must(s.store.Answers(s.t.Context(), []string{u.ClaimID()}))(s.t)
		equal(s.t, "claims", found[u.Request.ID].Claims, []keypackage.Claim{s.plan.Claims[i]})
	}
	joined := view.Open[s.plan.Joined[0].ID]
	equal(s.t, "requests of the joined delivery", joined.RequestIDs, []string{s.earlierFromCarol.ID, s.fromCarol.ID})
	for _, d := range s.plan.Created {
		found := must(s.store.Deliveries(s.t.Context(), []keypackage.DeliveryRef{d.Ref()}))(s.t)
		found[0].Version = d.Version
		equal(s.t, "a new delivery", found, []keypackage.StoredDelivery{{Delivery: *d}})
	}
}

// "It returns keypackage.ErrConflict unless everything that the plan changes or relies on is as it was read": each thing
// in turn is changed between the reading and the commit.
func TestCommitConflicts(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*claims){
		"consumed: deleted":              func(s *claims) { s.Delete(s.stockPath(s.consumed)) },
		"consumed: rewritten":            func(s *claims) { s.touch(s.stockPath(s.consumed)) },
		"consumed: tombstone":            func(s *claims) { s.tombstone(s.consumed) },
		"consumed: used as one-time":     func(s *claims) { s.use(s.consumed, keypackage.UseOneTime) },
		"consumed: used as reserve":      func(s *claims) { s.use(s.consumed, keypackage.UseReserve) },
		"reserve: deleted":               func(s *claims) { s.Delete(s.stockPath(s.reserve)) },
		"reserve: rewritten":             func(s *claims) { s.touch(s.stockPath(s.reserve)) },
		"reserve: tombstone":             func(s *claims) { s.tombstone(s.reserve) },
		"reserve: used as one-time":      func(s *claims) { s.use(s.reserve, keypackage.UseOneTime) },
		"reserve: used as reserve":       func(s *claims) { s.use(s.reserve, keypackage.UseReserve) },
		"reserve again: deleted":         func(s *claims) { s.Delete(s.stockPath(s.reserveAgain)) },
		"reserve again: rewritten":       func(s *claims) { s.touch(s.stockPath(s.reserveAgain)) },
		"reserve again: tombstone":       func(s *claims) { s.tombstone(s.reserveAgain) },
		"reserve again: ledger lost":     func(s *claims) { s.Delete(s.ledgerPath(s.reserveAgain)) },
		"reserve again: used otherwise":  func(s *claims) { s.use(s.reserveAgain, keypackage.UseOneTime) },
		"remaining: deleted":             func(s *claims) { s.Delete(s.stockPath(s.remaining)) },
		"remaining: rewritten":           func(s *claims) { s.touch(s.stockPath(s.remaining)) },
		"remaining: tombstone":           func(s *claims) { s.tombstone(s.remaining) },
		"remaining: used as one-time":    func(s *claims) { s.use(s.remaining, keypackage.UseOneTime) },
		"remaining: used as reserve":     func(s *claims) { s.use(s.remaining, keypackage.UseReserve) },
		"remaining reserve: deleted":     func(s *claims) { s.Delete(s.stockPath(s.remainingReserve)) },
		"remaining reserve: tombstone":   func(s *claims) { s.tombstone(s.remainingReserve) },
		"remaining reserve: used":        func(s *claims) { s.use(s.remainingReserve, keypackage.UseOneTime) },
		"remaining reserve: ledger lost": func(s *claims) { s.Delete(s.ledgerPath(s.remainingReserve)) },
		"joined: changed":                func(s *claims) { s.touch(s.deliveryPath(s.plan.Joined[0].ID)) },
		"joined: gone":                   func(s *claims) { s.Delete(s.deliveryPath(s.plan.Joined[0].ID)) },
		"joined: tombstone":              func(s *claims) { s.tombstone(s.joined) },
		"joined late: tombstone": func(s *claims) {
			s.plan.JoinedLate, s.plan.Joined = s.plan.Joined, nil
			s.tombstone(s.joined)
		},
		"removed: tombstone gone":     func(s *claims) { s.Delete(s.tombstonePath(fixture.ID(s.tombstoned), s.bob.Pubkey)) },
		"removed: rewritten":          func(s *claims) { s.touch(s.stockPath(s.tombstoned)) },
		"removed: deleted":            func(s *claims) { s.Delete(s.stockPath(s.tombstoned)) },
		"removed: returned to stock":  func(s *claims) { s.Delete(s.ledgerPath(s.usedUp)) },
		"removed: now a reserve":      func(s *claims) { s.use(s.usedUp, keypackage.UseReserve) },
		"removed, used up: rewritten": func(s *claims) { s.touch(s.stockPath(s.usedUp)) },
		"removed, expired: rewritten": func(s *claims) { s.touch(s.stockPath(s.expired)) },
		"flagged: rewritten":          func(s *claims) { s.touch(s.stockPath(s.flawed)) },
		"flagged: deleted":            func(s *claims) { s.Delete(s.stockPath(s.flawed)) },
		"pair: created":               func(s *claims) { s.Put(fixture.Documents{s.pairPath(s.alice.Pubkey, s.bob.Pubkey): keypackage.Pair{}}) },
		"pair: changed":               func(s *claims) { s.touch(s.pairPath(s.carol.Pubkey, s.bob.Pubkey)) },
		"pair: gone":                  func(s *claims) { s.Delete(s.pairPath(s.carol.Pubkey, s.bob.Pubkey)) },
		"owner: changed":              func(s *claims) { s.touch(s.ownerPath(s.bob.Pubkey)) },
		"owner: gone":                 func(s *claims) { s.Delete(s.ownerPath(s.bob.Pubkey)) },
		"unit: answered":              func(s *claims) { s.answer(s.fromAlice.ID, s.bob.Pubkey) },
		"request: dismissed":          func(s *claims) { s.dismissed(s.fromCarol.ID) },
		"request of several owners: dismissed": func(s *claims) {
			for i := range s.plan.Claims {
				s.plan.Claims[i].Owners = []string{s.bob.Pubkey, s.alice.Pubkey}
			}
			s.dismissed(s.fromCarol.ID)
		},
		"delivery: exists": func(s *claims) { s.Put(fixture.Documents{s.deliveryPath(s.plan.Created[0].ID): keypackage.Delivery{}}) },
	}
	for name, meanwhile := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newClaims(t)
			meanwhile(s)
			s.writesNothing(func() error { return s.store.Commit(t.Context(), s.plan) })
		})
	}
}

func (s *claims) tombstone(p keypackage.Document) {
	s.t.Helper()
	s.Put(fixture.Documents{s.tombstonePath(fixture.ID(p), s.bob.Pubkey): map[string]any{keypackage.FieldEventID: fixture.ID(p)}})
}

func (s *claims) use(p keypackage.Document, use keypackage.Use) {
	s.t.Helper()
	s.Put(fixture.Documents{s.ledgerPath(p): s.entry(p, use)})
}

func (s *claims) answer(requestID, owner string) {
	s.t.Helper()
	claim := keypackage.Claim{RequestID: requestID, Owner: owner}
	s.Put(fixture.Documents{s.claimPath(requestID, owner): claim})
}

// A plan that only relies on the owner's budget being used up does not write the owner's document.
func TestCommitReliesOnTheBudget(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		before, meanwhile func(*claims)
		conflict          bool
	}{
		"unchanged":     {},
		"still missing": {before: (*claims).forgetOwner},
		"changed":       {meanwhile: func(s *claims) { s.touch(s.ownerPath(s.bob.Pubkey)) }, conflict: true},
		"gone":          {meanwhile: (*claims).forgetOwner, conflict: true},
		"created": {
			before:    (*claims).forgetOwner,
			meanwhile: func(s *claims) { s.Put(fixture.Documents{s.ownerPath(s.bob.Pubkey): keypackage.Owner{}}) },
			conflict:  true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newClaims(t)
			if c.before != nil {
				c.before(s)
				s.plan = s.decide()
			}
			if c.meanwhile != nil {
				c.meanwhile(s)
			}
			s.plan.WriteOwner, s.plan.RequireOwner = false, true
			if c.conflict {
				s.writesNothing(func() error { return s.store.Commit(t.Context(), s.plan) })
				return
			}
			owner := s.In(s.Collections.Owners)
			s.must(s.store.Commit(t.Context(), s.plan))
			equal(t, "owner's document", s.In(s.Collections.Owners), owner)
		})
	}
}

func (s *claims) forgetOwner() { s.Delete(s.ownerPath(s.bob.Pubkey)) }

// What a plan neither changes nor relies on does not stand in its way.
func TestCommitIgnoresWhatItDoesNotRelyOn(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	s.plan.Remaining, s.plan.Flagged, s.plan.Joined = nil, nil, nil
	s.Delete(s.stockPath(s.remaining))
	s.touch(s.stockPath(s.flawed))
	s.tombstone(s.joined)
	s.must(s.store.Commit(t.Context(), s.plan))
}

// planOf copies a plan as far as a commit changes it.
func planOf(plan *claiming.Plan) *claiming.Plan {
	own := *plan
	own.Created = nil
	for _, d := range plan.Created {
		delivery := *d
		own.Created = append(own.Created, &delivery)
	}
	return &own
}

// "The store's methods may be called concurrently, also from other processes": of the same plan in several hands, one
// is committed.
func TestCommitOfOnePlanByManyInstances(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	const instances = 4
	errs := make([]error, instances)
	var wait sync.WaitGroup
	for i := range errs {
		instance, plan := s.Store(), planOf(s.plan)
		wait.Go(func() { errs[i] = instance.Commit(t.Context(), plan) })
	}
	wait.Wait()
	committed := 0
	for _, err := range errs {
		switch {
		case err == nil:
			committed++
		case !errors.Is(err, keypackage.ErrConflict):
			t.Error(err)
		}
	}
	equal(t, "commits", committed, 1)
	s.checkRead()
}

// Two events with the same bytes, handed out as the reserve in one plan, are one use of one package.
func TestCommitExposesTwins(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	s.Put(fixture.Documents{s.Collections.KeyPackages + "/twin": s.reserve})
	twin := s.plan.Reserves[0]
	twin.Candidate = s.candidates()["twin"]
	s.plan.Reserves = append(s.plan.Reserves, twin)
	s.must(s.store.Commit(t.Context(), s.plan))
	entry := s.All()[s.ledgerPath(s.reserve)].Fields
	equal(t, "use, delivery", []any{entry["use"], entry["delivery_id"]}, []any{"shared", s.plan.Reserves[0].Ledger.DeliveryID})
}
