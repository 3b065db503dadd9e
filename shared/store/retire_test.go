package store_test

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// expiring.Store: Retirable goes through the ledger entries that are to be looked at by now.
func TestRetirable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	late := keypackage.Ledger{CheckShard: 1, CheckAt: w.now, Owner: "owner", PackageID: "package", Use: keypackage.UseReserve}
	entries := map[string]any{
		"late":       late,
		"early":      keypackage.Ledger{CheckShard: keypackage.Shards, CheckAt: w.now.Add(-time.Hour)},
		"not yet":    keypackage.Ledger{CheckShard: 1, CheckAt: w.now.Add(time.Microsecond)},
		"done":       keypackage.Ledger{CheckAt: w.now.Add(-time.Hour)},
		"unreadable": map[string]any{"check_shard": 1, "check_at": w.now.Add(-2 * time.Hour), "owner_pubkey": 7},
	}
	for hash, entry := range entries {
		w.Put(fixture.Documents{w.Collections.Ledger + "/" + hash: entry})
	}
	found, unreadable := readable(t, w.store.Retirable(t.Context(), w.now))
	equal(t, "found, unreadable", []int{len(found), unreadable}, []int{2, 1})
	late.Hash, late.Version = "late", w.In(w.Collections.Ledger)["late"].Updated
	for _, entry := range found {
		if entry.Hash != "early" {
			equal(t, "entry", entry, late)
		}
	}
}

// Twins returns all documents of the owner's stock with the bytes of the entry, wherever they stand.
func TestTwins(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	twins := []string{fixture.ID(s.reserve), "twin", "second twin"}
	s.Put(fixture.Documents{
		s.Collections.KeyPackages + "/twin": s.reserve, s.Collections.KeyPackages + "/second twin": s.reserve,
	})
	found := must(s.store.Twins(t.Context(), s.entry(s.reserve, keypackage.UseReserve)))(t)
	equal(t, "twins", idsOfDocuments(found), sorted(twins...))
	equal(t, "version", found[0].Version, s.In(s.Collections.KeyPackages)[found[0].ID].Updated)
}

// watched reads what a retirement of the reserve needs.
func (s *claims) watched() (entry keypackage.Ledger, reserve []expiring.Document, replacements []*keypackage.Candidate) {
	s.t.Helper()
	s.Put(fixture.Documents{s.ledgerPath(s.reserve): s.entry(s.reserve, keypackage.UseReserve)})
	for _, entry := range all(s.t, s.store.Retirable(s.t.Context(), s.now.Add(keypackage.RetireAfter))) {
		if entry.PackageID == fixture.ID(s.reserve) {
			stock := s.candidates()
			return entry, must(s.store.Twins(s.t.Context(), entry))(s.t),
				[]*keypackage.Candidate{stock[fixture.ID(s.consumed)], stock[fixture.ID(s.remaining)]}
		}
	}
	s.t.Fatal("the ledger entry of the reserve is not watched")
	return
}

// Retire removes a reserve from stock and ends the watch over its ledger entry.
func TestRetire(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	entry, reserve, replacements := s.watched()
	before := s.All()
	s.must(s.store.Retire(t.Context(), entry, reserve, replacements))
	after := s.All()
	if _, ok := after[s.stockPath(s.reserve)]; ok {
		t.Error("the reserve is still in stock")
	}
	equal(t, "use", after[s.ledgerPath(s.reserve)].Fields["use"], any("shared"))
	equal(t, "watched", after[s.ledgerPath(s.reserve)].Fields["check_shard"], nil)
	equal(t, "documents", len(after), len(before)-1)
}

// Retire of a package that is gone only ends the watch.
func TestRetireOfWhatIsGone(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	entry, _, _ := s.watched()
	s.Delete(s.stockPath(s.reserve))
	s.must(s.store.Retire(t.Context(), entry, nil, nil))
	equal(t, "watched", s.All()[s.ledgerPath(s.reserve)].Fields["check_shard"], nil)
}

// Retire conflicts unless the entry and the package are as they were read, and the replacements still in stock and valid.
func TestRetireConflicts(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*claims){
		"entry changed":                func(s *claims) { s.touch(s.ledgerPath(s.reserve)) },
		"entry gone":                   func(s *claims) { s.Delete(s.ledgerPath(s.reserve)) },
		"package rewritten":            func(s *claims) { s.touch(s.stockPath(s.reserve)) },
		"package gone":                 func(s *claims) { s.Delete(s.stockPath(s.reserve)) },
		"replacement gone":             func(s *claims) { s.Delete(s.stockPath(s.remaining)) },
		"replacement rewritten":        func(s *claims) { s.touch(s.stockPath(s.consumed)) },
		"replacement tombstoned":       func(s *claims) { s.tombstone(s.remaining) },
		"replacement used as one-time": func(s *claims) { s.use(s.consumed, keypackage.UseOneTime) },
		"replacement used as reserve":  func(s *claims) { s.use(s.remaining, keypackage.UseReserve) },
	}
	for name, meanwhile := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newClaims(t)
			entry, reserve, replacements := s.watched()
			meanwhile(s)
			s.writesNothing(func() error { return s.store.Retire(t.Context(), entry, reserve, replacements) })
		})
	}
}

// Postpone saves when the ledger entry is looked at again.
func TestPostpone(t *testing.T) {
	t.Parallel()
	s := newClaims(t)
	entry, _, _ := s.watched()
	entry.CheckAt = s.now.Add(24 * time.Hour)
	s.must(s.store.Postpone(t.Context(), entry))
	equal(t, "check at", s.All()[s.ledgerPath(s.reserve)].Fields["check_at"], any(entry.CheckAt))
	s.writesNothing(func() error { return s.store.Postpone(t.Context(), entry) }) // its version is outdated now
}
