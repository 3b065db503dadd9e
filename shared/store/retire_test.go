package store_test

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/fixture"
)

// expiring.Store: Retirable returns up to limit ledger entries that are to be looked at by now.
func TestRetirable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entries := map[string]keypackage.Ledger{
		"late":    {Retirable: true, CheckAt: w.now, Owner: "owner", PackageID: "package", Use: keypackage.UseReserve},
		"early":   {Retirable: true, CheckAt: w.now.Add(-time.Hour)},
		"not yet": {Retirable: true, CheckAt: w.now.Add(time.Microsecond)},
		"done":    {CheckAt: w.now.Add(-time.Hour)},
	}
	for hash, entry := range entries {
		w.Put(fixture.Documents{w.Collections.Ledger + "/" + hash: entry})
	}
	found := must(w.store.Retirable(t.Context(), w.now, 10))(t)
	equal(t, "found", []string{found[0].Hash, found[1].Hash}, []string{"early", "late"})
	want := entries["late"]
	want.Hash, want.Version = "late", w.In(w.Collections.Ledger)["late"].Updated
	equal(t, "entry", found[1], want)
	equal(t, "up to the limit", len(must(w.store.Retirable(t.Context(), w.now, 1))(t)), 1)
}

// Package returns one document of the stock, or nil.
func TestPackage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for id, want := range s.candidates() {
		equal(t, "candidate", must(s.store.Package(t.Context(), id))(t), want)
	}
	if missing := must(s.store.Package(t.Context(), "missing"))(t); missing != nil {
		t.Errorf("got a package that is not there: %v", missing.ID)
	}
}

// watched reads what a retirement of the exposed package needs.
func (s *scene) watched() (entry keypackage.Ledger, exposed *keypackage.Candidate, replacements []*keypackage.Candidate) {
	s.t.Helper()
	s.Put(fixture.Documents{s.ledgerPath(s.exposed): s.entry(s.exposed, keypackage.UseReserve)})
	for _, entry := range must(s.store.Retirable(s.t.Context(), s.now.Add(keypackage.RetireAfter), 10))(s.t) {
		if entry.PackageID == fixture.ID(s.exposed) {
			stock := s.candidates()
			return entry, stock[entry.PackageID], []*keypackage.Candidate{stock[fixture.ID(s.consumed)], stock[fixture.ID(s.behind)]}
		}
	}
	s.t.Fatal("the ledger entry of the exposed package is not retirable")
	return
}

// Retire removes an exposed package from stock and ends the watch over its ledger entry.
func TestRetire(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	entry, exposed, replacements := s.watched()
	before := s.All()
	s.must(s.store.Retire(t.Context(), entry, exposed, replacements))
	after := s.All()
	if _, ok := after[s.stockPath(s.exposed)]; ok {
		t.Error("the exposed package is still in stock")
	}
	equal(t, "use", after[s.ledgerPath(s.exposed)].Fields["use"], any("shared"))
	equal(t, "retirable", after[s.ledgerPath(s.exposed)].Fields["retirable"], any(false))
	equal(t, "documents", len(after), len(before)-1)
}

// Retire of a package that is gone only ends the watch.
func TestRetireOfWhatIsGone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	entry, _, _ := s.watched()
	s.Delete(s.stockPath(s.exposed))
	s.must(s.store.Retire(t.Context(), entry, nil, nil))
	equal(t, "retirable", s.All()[s.ledgerPath(s.exposed)].Fields["retirable"], any(false))
}

// Retire conflicts unless the entry and the package are as they were read, and the replacements still in stock and valid.
func TestRetireConflicts(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*scene){
		"entry changed":                  func(s *scene) { s.Touch(s.ledgerPath(s.exposed)) },
		"entry gone":                     func(s *scene) { s.Delete(s.ledgerPath(s.exposed)) },
		"package rewritten":              func(s *scene) { s.Touch(s.stockPath(s.exposed)) },
		"package gone":                   func(s *scene) { s.Delete(s.stockPath(s.exposed)) },
		"replacement gone":               func(s *scene) { s.Delete(s.stockPath(s.behind)) },
		"replacement rewritten":          func(s *scene) { s.Touch(s.stockPath(s.consumed)) },
		"replacement tombstoned":         func(s *scene) { s.tombstone(s.behind) },
		"replacement used as one-time":   func(s *scene) { s.use(s.consumed, keypackage.UseOneTime) },
		"replacement exposed as reserve": func(s *scene) { s.use(s.behind, keypackage.UseReserve) },
	}
	for name, meanwhile := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			entry, exposed, replacements := s.watched()
			meanwhile(s)
			s.writesNothing(func() error { return s.store.Retire(t.Context(), entry, exposed, replacements) })
		})
	}
}

// Postpone saves when the ledger entry is looked at again.
func TestPostpone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	entry, _, _ := s.watched()
	entry.CheckAt = s.now.Add(24 * time.Hour)
	s.must(s.store.Postpone(t.Context(), entry))
	equal(t, "check at", s.All()[s.ledgerPath(s.exposed)].Fields["check_at"], any(entry.CheckAt))
	s.writesNothing(func() error { return s.store.Postpone(t.Context(), entry) }) // its version is outdated now
}
