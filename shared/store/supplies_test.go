package store_test

import (
	"slices"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// expiring.Store: PendingOwners goes through the owners with notices that nobody is known to have published.
func TestPendingOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putOwner("told", true)
	w.putOwner("untold", false)
	w.Put(fixture.Documents{w.ownerPath("unreadable"): map[string]any{"pending": true, "supplies": "many"}})
	w.Put(fixture.Documents{w.ownerPath("nothing to tell"): map[string]any{"pending": true}})
	owners, unreadable := readable(t, w.store.PendingOwners(t.Context()))
	equal(t, "owners found, unreadable", []int{len(owners), unreadable}, []int{2, 1})
	found := slices.DeleteFunc(owners, func(o keypackage.Owner) bool { return o.Pubkey != "untold" })
	equal(t, "notices", found[0].DueNotices(), []keypackage.Notice{{
		Owner: "untold", Suite: "0x0001", Supply: keypackage.Supply{Level: keypackage.LevelLow, Count: 3, At: w.now},
	}})
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
	owner := all(t, w.store.PendingOwners(t.Context()))[0]
	owner.MarkNotified(owner.DueNotices())
	w.must(w.store.SaveSupplies(t.Context(), owner))
	equal(t, "owners found", len(all(t, w.store.PendingOwners(t.Context()))), 0)
	view := must(w.store.View(t.Context(), "bob", nil))(t)
	equal(t, "supplies", view.Owner.Supplies, owner.Supplies)
	equal(t, "budget used", view.Owner.HandedOut.Count(w.now), 7)

	w.writesNothing(func() error { return w.store.SaveSupplies(t.Context(), owner) }) // its version is outdated now
	w.Delete(w.ownerPath("bob"))
	w.writesNothing(func() error { return w.store.SaveSupplies(t.Context(), owner) })
}
