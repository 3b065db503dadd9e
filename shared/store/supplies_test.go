package store_test

import (
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/fixture"
)

// expiring.Store: PendingOwners returns up to limit owners with notices that nobody is known to have published.
func TestPendingOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putOwner("told", true)
	w.putOwner("untold", false)
	found := must(w.store.PendingOwners(t.Context(), 10))(t)
	equal(t, "owners found", len(found), 1)
	equal(t, "notices", found[0].DueNotices(), []keypackage.Notice{{
		Owner: "untold", Suite: "0x0001", Supply: keypackage.Supply{Level: keypackage.LevelLow, Count: 3, At: w.now},
	}})
	w.putOwner("untold too", false)
	equal(t, "up to the limit", len(must(w.store.PendingOwners(t.Context(), 1))(t)), 1)
}

func (w *world) putOwner(pubkey string, announced bool) {
	w.t.Helper()
	low := keypackage.Supply{Level: keypackage.LevelLow, Count: 3, At: w.now, Notified: announced}
	owner := keypackage.Owner{
		Pubkey: pubkey, Supplies: map[string]keypackage.Supply{"0x0001": low}, Pending: !announced,
		HandedOut: keypackage.Window{}.Add(w.now, 7),
	}
	w.Put(fixture.Documents{w.ownerPath(pubkey): owner})
}

// SaveSupplies saves the supplies of an owner, provided that nothing about the owner has changed since it was read.
func TestSaveSupplies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putOwner("bob", false)
	owner := must(w.store.PendingOwners(t.Context(), 1))(t)[0]
	owner.MarkNotified(owner.DueNotices())
	w.must(w.store.SaveSupplies(t.Context(), owner))
	equal(t, "owners found", len(must(w.store.PendingOwners(t.Context(), 1))(t)), 0)
	view := must(w.store.View(t.Context(), "bob", nil))(t)
	equal(t, "supplies", view.Owner.Supplies, owner.Supplies)
	equal(t, "budget used", view.Owner.HandedOut.Count(w.now), 7)

	w.writesNothing(func() error { return w.store.SaveSupplies(t.Context(), owner) }) // its version is outdated now
	w.Delete(w.ownerPath("bob"))
	w.writesNothing(func() error { return w.store.SaveSupplies(t.Context(), owner) })
}
