package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/fixture"
)

// ending puts an open delivery that ends at that time.
func (s *shelf) ending(packageID string, at time.Time) *keypackage.Delivery {
	s.t.Helper()
	return s.deliver(packageID, func(d *keypackage.Delivery) { d.ExpiresAt = at })
}

// expiring.Store: Due goes through the open deliveries that ended at or before that time, in the order of their end, up to
// batch of them at a time.
func TestDue(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	late := s.ending("late", s.now)
	early := s.ending("early", s.now.Add(-time.Minute))
	s.ending("not yet", s.now.Add(time.Microsecond))
	sending := s.deliver("sending", func(d *keypackage.Delivery) {
		d.State, d.ExpiresAt = keypackage.StateSending, s.now.Add(-time.Second)
	})
	s.deliver("delivered", func(d *keypackage.Delivery) {
		d.State, d.ExpiresAt = keypackage.StateDelivered, s.now.Add(-time.Minute)
	})
	s.bury("sending")

	var due []keypackage.StoredDelivery
	var sizes []int
	for batch, err := range s.store.Due(t.Context(), s.now, 2) {
		if err != nil {
			t.Fatal(err)
		}
		due, sizes = append(due, batch...), append(sizes, len(batch))
	}
	equal(t, "batches", sizes, []int{2, 1})
	equal(t, "due", deliveryIDs(due), []string{early.ID, sending.ID, late.ID})
	equal(t, "tombstoned", []bool{due[0].Tombstoned, due[1].Tombstoned, due[2].Tombstoned}, []bool{false, true, false})
	equal(t, "delivery", due[1].Delivery, *sending)
	for range s.store.Due(t.Context(), s.now.Add(-time.Hour), 2) {
		t.Error("nothing was due then")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for batch, err := range s.store.Due(ended, s.now, 2) {
		if err == nil {
			t.Errorf("got %d deliveries out of an ended context", len(batch))
		}
	}
}

// Waiting returns up to limit open deliveries that end after that time, from behind `after`, in the order of their end.
func TestWaiting(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.ending("over", s.now)
	var want []string
	for i, ends := range []time.Duration{1, 2, 2, 2, 3} { // three end at the same time
		want = append(want, s.ending(fmt.Sprint(i), s.now.Add(ends*time.Second)).ID)
	}
	s.deliver("expired", func(d *keypackage.Delivery) { d.State = keypackage.StateExpired })

	var got []string
	var last *keypackage.Delivery
	for {
		page := must(s.store.Waiting(t.Context(), s.now, last, 2))(t)
		got = append(got, deliveryIDs(page)...)
		if len(page) < 2 {
			break
		}
		last = &page[1].Delivery
	}
	equal(t, "pages", got, want)
}

// Expire saves the deliveries; a package that is returned is back in stock afterwards, as it was, and its ledger entry is
// gone if it is one-time and names the delivery.
func TestExpire(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		before          func(*shelf, *keypackage.Delivery)
		returned, freed bool
	}{
		"untouched":         {before: func(s *shelf, d *keypackage.Delivery) { s.claimed(d) }, returned: true, freed: true},
		"no ledger entry":   {returned: true, freed: true},
		"used by another":   {before: func(s *shelf, d *keypackage.Delivery) { s.ledgered(d, keypackage.UseOneTime, "another") }, returned: true},
		"shared":            {before: func(s *shelf, d *keypackage.Delivery) { s.ledgered(d, keypackage.UseReserve, d.ID) }, returned: true},
		"exposure unknown":  {before: func(s *shelf, d *keypackage.Delivery) { s.claimed(d); d.ExposureUnknown = true }},
		"parked":            {before: func(s *shelf, d *keypackage.Delivery) { s.claimed(d); d.Parked = true }},
		"re-broadcast":      {before: func(s *shelf, d *keypackage.Delivery) { s.claimed(d); s.rebroadcast(d) }, returned: true, freed: true},
		"its own time over": {before: func(s *shelf, d *keypackage.Delivery) { s.claimed(d); d.PackageExpires = s.now }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			d := s.deliver("package", nil)
			if c.before != nil {
				c.before(s, d)
			}
			d.Expire(false, s.now)
			s.must(s.store.Expire(t.Context(), []*keypackage.Delivery{d}))

			saved := s.read(d.ID)
			equal(t, "state and reason", []any{saved.State, saved.Reason}, []any{keypackage.StateExpired, d.Reason})
			equal(t, "finished", saved.FinishedAt, s.now)
			all := s.All()
			stored, returned := all[s.Collections.KeyPackages+"/package"]
			equal(t, "returned", returned, c.returned)
			if returned {
				equal(t, "document", stored.Fields, map[string]any(d.Package))
			}
			_, kept := all[s.Collections.Ledger+"/"+d.Hash]
			equal(t, "ledger entry kept", kept, !c.freed)
		})
	}
}

// claimed makes the ledger entry that the claim of a delivery makes.
func (s *shelf) claimed(d *keypackage.Delivery) { s.ledgered(d, keypackage.UseOneTime, d.ID) }

func (s *shelf) ledgered(d *keypackage.Delivery, use keypackage.Use, deliveryID string) {
	s.t.Helper()
	s.Put(fixture.Documents{s.Collections.Ledger + "/" + d.Hash: keypackage.Ledger{Use: use, DeliveryID: deliveryID}})
}

// rebroadcast stores the delivery's package anew, as the relay does that receives it again.
func (s *shelf) rebroadcast(d *keypackage.Delivery) {
	s.t.Helper()
	s.Put(fixture.Documents{s.Collections.KeyPackages + "/" + d.PackageID: map[string]any{"received": "again"}})
}

// Expire is one transaction, provided that no delivery has changed, that no returned package has a tombstone, and that
// the ledger entries are what they were.
func TestExpireConflicts(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*shelf, *keypackage.Delivery){
		"changed":    func(s *shelf, d *keypackage.Delivery) { s.Touch(s.deliveryPath(d.ID)) },
		"gone":       func(s *shelf, d *keypackage.Delivery) { s.Delete(s.deliveryPath(d.ID)) },
		"push begun": func(s *shelf, d *keypackage.Delivery) { s.pushElsewhere(d) },
		"tombstone":  func(s *shelf, d *keypackage.Delivery) { s.bury(d.PackageID) },
	}
	for name, meanwhile := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			batch := []*keypackage.Delivery{s.deliver("a", nil), s.deliver("b", nil)}
			for _, d := range batch {
				s.claimed(d)
			}
			meanwhile(s, batch[1])
			for _, d := range batch {
				d.Expire(false, s.now)
			}
			s.writesNothing(func() error { return s.store.Expire(t.Context(), batch) })
		})
	}
}

// A package that is not returned needs no tombstone to be missing.
func TestExpireOfTombstonedPackage(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	d := s.deliver("a", nil)
	s.bury("a")
	d.Expire(true, s.now)
	s.must(s.store.Expire(t.Context(), []*keypackage.Delivery{d}))
	equal(t, "reason", s.read(d.ID).Reason, keypackage.ExpiredTombstoned)
	equal(t, "stock", len(s.In(s.Collections.KeyPackages)), 0)
}

// RemoveExpired removes documents whose own field, a number or a timestamp, says that their time was over by now.
func TestRemoveExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	documents := map[string]any{
		"number, over":     w.now.Unix(),
		"number, not yet":  w.now.Unix() + 1,
		"time, over":       w.now,
		"time, not yet":    w.now.Add(time.Microsecond),
		"neither readable": "tomorrow",
		"missing":          nil,
	}
	for id, end := range documents {
		fields := map[string]any{keypackage.FieldEventID: id}
		if end != nil {
			fields[keypackage.FieldExpiresAt] = end
		}
		w.Put(fixture.Documents{w.Collections.KeyPackages + "/" + id: fields})
	}
	found, removed, err := w.store.RemoveExpired(t.Context(), w.now, 10)
	w.must(err)
	equal(t, "found, removed", []int{found, removed}, []int{2, 2})
	left := w.In(w.Collections.KeyPackages)
	for _, id := range []string{"number, over", "time, over"} {
		if _, ok := left[id]; ok {
			t.Errorf("%s was not removed", id)
		}
	}
	equal(t, "left", len(left), 4)
	found, removed, err = w.store.RemoveExpired(t.Context(), w.now, 10)
	w.must(err)
	equal(t, "found, removed the next time", []int{found, removed}, []int{0, 0})
}

// RemoveExpired removes up to limit documents.
func TestRemoveExpiredUpToTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	documents := make(fixture.Documents)
	for i := range 3 {
		documents[fmt.Sprintf("%s/n%d", w.Collections.KeyPackages, i)] = map[string]any{keypackage.FieldExpiresAt: w.now.Unix()}
		documents[fmt.Sprintf("%s/t%d", w.Collections.KeyPackages, i)] = map[string]any{keypackage.FieldExpiresAt: w.now}
	}
	w.Put(documents)
	for _, want := range []int{2, 2, 2, 0} {
		found, removed, err := w.store.RemoveExpired(t.Context(), w.now, 2)
		w.must(err)
		equal(t, "found, removed", []int{found, removed}, []int{want, want})
	}
}
