package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/fixture"
)

// claiming.Store: "Commit writes the whole plan in one transaction".
func TestCommitWritesTheWholePlan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	before := s.All()
	s.must(s.store.Commit(t.Context(), s.plan))
	after := s.All()

	for _, p := range []keypackage.Document{s.consumed, s.tombstoned, s.usedUp, s.expired} {
		if _, ok := after[s.stockPath(p)]; ok {
			t.Errorf("%s is still in stock", fixture.ID(p))
		}
	}
	for _, p := range []keypackage.Document{s.exposed, s.exposedAgain, s.behind, s.behindShared} {
		equal(t, "a package that stays", after[s.stockPath(p)], before[s.stockPath(p)])
	}
	equal(t, "flaw", after[s.stockPath(s.flawed)].Fields[keypackage.FieldFlaw], any(keypackage.FlawEvent))
	equal(t, "use of the consumed", after[s.ledgerPath(s.consumed)].Fields["use"], any("one_time"))
	equal(t, "use of the exposed", after[s.ledgerPath(s.exposed)].Fields["use"], any("shared"))
	equal(t, "entry of the exposed before", after[s.ledgerPath(s.exposedAgain)], before[s.ledgerPath(s.exposedAgain)])
	for _, d := range s.plan.Created {
		equal(t, "state of a new delivery", after[s.deliveryPath(d.ID)].Fields["state"], any("pending"))
	}
	s.checkRead()
}

// checkRead reads back through the contract what the plan said.
func (s *scene) checkRead() {
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
	cases := map[string]func(*scene){
		"consumed: deleted":              func(s *scene) { s.Delete(s.stockPath(s.consumed)) },
		"consumed: rewritten":            func(s *scene) { s.Touch(s.stockPath(s.consumed)) },
		"consumed: tombstone":            func(s *scene) { s.tombstone(s.consumed) },
		"consumed: used as one-time":     func(s *scene) { s.use(s.consumed, keypackage.UseOneTime) },
		"consumed: used as reserve":      func(s *scene) { s.use(s.consumed, keypackage.UseReserve) },
		"exposed: deleted":               func(s *scene) { s.Delete(s.stockPath(s.exposed)) },
		"exposed: rewritten":             func(s *scene) { s.Touch(s.stockPath(s.exposed)) },
		"exposed: tombstone":             func(s *scene) { s.tombstone(s.exposed) },
		"exposed: used as one-time":      func(s *scene) { s.use(s.exposed, keypackage.UseOneTime) },
		"exposed: used as reserve":       func(s *scene) { s.use(s.exposed, keypackage.UseReserve) },
		"exposed again: deleted":         func(s *scene) { s.Delete(s.stockPath(s.exposedAgain)) },
		"exposed again: rewritten":       func(s *scene) { s.Touch(s.stockPath(s.exposedAgain)) },
		"exposed again: tombstone":       func(s *scene) { s.tombstone(s.exposedAgain) },
		"exposed again: ledger lost":     func(s *scene) { s.Delete(s.ledgerPath(s.exposedAgain)) },
		"exposed again: used otherwise":  func(s *scene) { s.use(s.exposedAgain, keypackage.UseOneTime) },
		"behind: deleted":                func(s *scene) { s.Delete(s.stockPath(s.behind)) },
		"behind: rewritten":              func(s *scene) { s.Touch(s.stockPath(s.behind)) },
		"behind: tombstone":              func(s *scene) { s.tombstone(s.behind) },
		"behind: used as one-time":       func(s *scene) { s.use(s.behind, keypackage.UseOneTime) },
		"behind: used as reserve":        func(s *scene) { s.use(s.behind, keypackage.UseReserve) },
		"behind and shared: deleted":     func(s *scene) { s.Delete(s.stockPath(s.behindShared)) },
		"behind and shared: tombstone":   func(s *scene) { s.tombstone(s.behindShared) },
		"behind and shared: used":        func(s *scene) { s.use(s.behindShared, keypackage.UseOneTime) },
		"behind and shared: ledger lost": func(s *scene) { s.Delete(s.ledgerPath(s.behindShared)) },
		"joined: changed":                func(s *scene) { s.Touch(s.deliveryPath(s.plan.Joined[0].ID)) },
		"joined: gone":                   func(s *scene) { s.Delete(s.deliveryPath(s.plan.Joined[0].ID)) },
		"joined: tombstone":              func(s *scene) { s.tombstone(s.joined) },
		"joined late: tombstone": func(s *scene) {
			s.plan.JoinedLate, s.plan.Joined = s.plan.Joined, nil
			s.tombstone(s.joined)
		},
		"removed: tombstone gone":      func(s *scene) { s.Delete(s.tombstonePath(fixture.ID(s.tombstoned), s.bob.Pubkey)) },
		"removed: rewritten":           func(s *scene) { s.Touch(s.stockPath(s.tombstoned)) },
		"removed: deleted":             func(s *scene) { s.Delete(s.stockPath(s.tombstoned)) },
		"removed: returned to stock":   func(s *scene) { s.Delete(s.ledgerPath(s.usedUp)) },
		"removed: now a reserve":       func(s *scene) { s.use(s.usedUp, keypackage.UseReserve) },
		"removed, used up: rewritten":  func(s *scene) { s.Touch(s.stockPath(s.usedUp)) },
		"removed, expired: rewritten":  func(s *scene) { s.Touch(s.stockPath(s.expired)) },
		"flagged: rewritten":           func(s *scene) { s.Touch(s.stockPath(s.flawed)) },
		"flagged: deleted":             func(s *scene) { s.Delete(s.stockPath(s.flawed)) },
		"pair: created":                func(s *scene) { s.Put(fixture.Documents{s.pairPath(s.alice.Pubkey, s.bob.Pubkey): keypackage.Pair{}}) },
		"pair: changed":                func(s *scene) { s.Touch(s.pairPath(s.carol.Pubkey, s.bob.Pubkey)) },
		"pair: gone":                   func(s *scene) { s.Delete(s.pairPath(s.carol.Pubkey, s.bob.Pubkey)) },
		"owner: changed":               func(s *scene) { s.Touch(s.ownerPath(s.bob.Pubkey)) },
		"owner: gone":                  func(s *scene) { s.Delete(s.ownerPath(s.bob.Pubkey)) },
		"unit: answered":               func(s *scene) { s.answer(s.fromAlice.ID, s.bob.Pubkey) },
		"request: answered as a whole": func(s *scene) { s.answer(s.fromCarol.ID, "") },
		"delivery: exists":             func(s *scene) { s.Put(fixture.Documents{s.deliveryPath(s.plan.Created[0].ID): keypackage.Delivery{}}) },
	}
	for name, meanwhile := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			meanwhile(s)
			s.writesNothing(func() error { return s.store.Commit(t.Context(), s.plan) })
		})
	}
}

func (s *scene) tombstone(p keypackage.Document) {
	s.t.Helper()
	s.Put(fixture.Documents{s.tombstonePath(fixture.ID(p), s.bob.Pubkey): map[string]any{keypackage.FieldEventID: fixture.ID(p)}})
}

func (s *scene) use(p keypackage.Document, use keypackage.Use) {
	s.t.Helper()
	s.Put(fixture.Documents{s.ledgerPath(p): s.entry(p, use)})
}

func (s *scene) answer(requestID, owner string) {
	s.t.Helper()
	claim := keypackage.Claim{RequestID: requestID, Owner: owner}
	s.Put(fixture.Documents{s.claimPath(requestID, owner): claim})
}

// A plan that only relies on the owner's budget being used up does not write the owner's document.
func TestCommitReliesOnTheBudget(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		before, meanwhile func(*scene)
		conflict          bool
	}{
		"unchanged":     {},
		"still missing": {before: (*scene).forgetOwner},
		"changed":       {meanwhile: func(s *scene) { s.Touch(s.ownerPath(s.bob.Pubkey)) }, conflict: true},
		"gone":          {meanwhile: (*scene).forgetOwner, conflict: true},
		"created": {
			before:    (*scene).forgetOwner,
			meanwhile: func(s *scene) { s.Put(fixture.Documents{s.ownerPath(s.bob.Pubkey): keypackage.Owner{}}) },
			conflict:  true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
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

func (s *scene) forgetOwner() { s.Delete(s.ownerPath(s.bob.Pubkey)) }

// What a plan neither changes nor relies on does not stand in its way.
func TestCommitIgnoresWhatItDoesNotRelyOn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.plan.Remaining, s.plan.Flagged, s.plan.Joined = nil, nil, nil
	s.Delete(s.stockPath(s.behind))
	s.Touch(s.stockPath(s.flawed))
	s.tombstone(s.joined)
	s.must(s.store.Commit(t.Context(), s.plan))
}

// "The store's methods may be called concurrently, also from other processes": of the same plan in several hands, one
// is committed.
func TestCommitOfOnePlanByManyInstances(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const instances = 4
	errs := make([]error, instances)
	var wait sync.WaitGroup
	for i := range errs {
		instance := s.Store()
		wait.Go(func() { errs[i] = instance.Commit(t.Context(), s.plan) })
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
	s := newScene(t)
	s.Put(fixture.Documents{s.Collections.KeyPackages + "/twin": s.exposed})
	twin := s.plan.Reserves[0]
	twin.Candidate = s.candidates()["twin"]
	s.plan.Reserves = append(s.plan.Reserves, twin)
	s.must(s.store.Commit(t.Context(), s.plan))
	entry := s.All()[s.ledgerPath(s.exposed)].Fields
	equal(t, "use, delivery", []any{entry["use"], entry["delivery_id"]}, []any{"shared", s.plan.Reserves[0].Ledger.DeliveryID})
}
