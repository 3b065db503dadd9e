package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ends stores documents of one owner by their id, with that in their field for the end; nil leaves it out.
func (w *world) ends(owner string, documents map[string]any) {
	w.t.Helper()
	for id, end := range documents {
		fields := map[string]any{keypackage.FieldEventID: id, keypackage.FieldOwner: owner}
		if end != nil {
			fields[keypackage.FieldExpiresAt] = end
		}
		w.Put(fixture.Documents{w.Collections.KeyPackages + "/" + id: fields})
	}
}

func idsOfDocuments(documents []expiring.Document) []string {
	var ids []string
	for _, d := range documents {
		ids = append(ids, d.ID)
	}
	return sorted(ids...)
}

// expiring.Store: Over goes through the documents in stock that are over by now, as whoever claims reads them.
func TestOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ends("owner", map[string]any{
		"number, over": w.now.Unix(), "number, not yet": w.now.Unix() + 1,
		"time, over": w.now, "time, not yet": w.now.Add(time.Microsecond),
		"missing": nil, "text": "yesterday", "zero": 0, "before 1970": -62135596800, "half": 0.5, "double": float64(w.now.Unix() - 100),
		"time before 1970": time.Unix(-1, 0), "year 1": time.Time{}.Add(time.Hour),
	})
	want := []string{"number, over", "time, over"}
	over := all(t, w.store.Over(t.Context(), "", "", w.now))
	equal(t, "over", idsOfDocuments(over), want)
	for id, stored := range w.In(w.Collections.KeyPackages) {
		p := keypackage.Inspect(id, stored.Fields, keypackage.PolicyWarn)
		p.NotAfter = w.now.Add(time.Hour)
		end, ok := keypackage.Document(stored.Fields).End()
		equal(t, id+" is over", ok && !end.After(w.now), id == want[0] || id == want[1])
	}
	removed, err := w.store.Remove(t.Context(), over)
	w.must(err)
	equal(t, "removed", removed, 2)
	equal(t, "left", len(w.In(w.Collections.KeyPackages)), 10)
	equal(t, "over the next time", len(all(t, w.store.Over(t.Context(), "", "", w.now))), 0)
}

// Over looks at the stock of a part of the owners, and reads no content.
func TestOverOfSomeOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, owner := range []string{"00ff", "0400", "0401", "07ff", "0800", "ff"} {
		w.ends(owner, map[string]any{"of " + owner: w.now.Unix()})
	}
	equal(t, "from 04 to 08", idsOfDocuments(all(t, w.store.Over(t.Context(), "04", "08", w.now))), []string{"of 0400", "of 0401", "of 07ff"})
	equal(t, "from 08", idsOfDocuments(all(t, w.store.Over(t.Context(), "08", "", w.now))), []string{"of 0800", "of ff"})
}

// Remove removes what has not changed since it was read.
func TestRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 4 {
		w.ends("owner", map[string]any{fmt.Sprint(i): w.now.Unix()})
	}
	over := all(t, w.store.Over(t.Context(), "", "", w.now))
	w.touch(w.Collections.KeyPackages + "/1")
	w.Delete(w.Collections.KeyPackages + "/2")
	removed, err := w.store.Remove(t.Context(), over)
	w.must(err)
	equal(t, "removed", removed, 2)
	equal(t, "left", len(w.In(w.Collections.KeyPackages)), 1)
}
