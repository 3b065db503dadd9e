package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ending puts an open delivery that ends at that time.
func (s *deliveries) ending(packageID string, at time.Time) *keypackage.Delivery {
	s.t.Helper()
	return s.deliver(packageID, func(d *keypackage.Delivery) { d.ExpiresAt = at })
}

// expiring.Store: Due goes through the open deliveries that ended at or before that time.
func TestDue(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	late := s.ending("late", s.now)
	early := s.ending("early", s.now.Add(-time.Minute))
	s.ending("not yet", s.now.Add(time.Microsecond))
	sending := s.deliver("sending", func(d *keypackage.Delivery) {
		d.State, d.ExpiresAt = keypackage.StateSending, s.now.Add(-time.Second)
	})
	delivered := s.ending("delivered", s.now.Add(-time.Minute))
	delivered.Finish(0, keypackage.ResultDelivered, s.now)
	s.must(s.store.SaveResults(t.Context(), []*keypackage.Delivery{delivered}))
	s.tombstone("sending")

	due := all(t, s.store.Due(t.Context(), s.now, true))
	equal(t, "due", sorted(deliveryIDs(due)...), sorted(early.ID, sending.ID, late.ID))
	for _, d := range due {
		equal(t, "tombstoned", d.Tombstoned, d.ID == sending.ID)
		if d.ID == sending.ID {
			equal(t, "delivery", d.Delivery, *sending)
		}
	}
	for _, d := range all(t, s.store.Due(t.Context(), s.now, false)) {
		equal(t, "tombstoned, without a look", d.Tombstoned, false)
	}
	equal(t, "due an hour ago", len(all(t, s.store.Due(t.Context(), s.now.Add(-time.Hour), true))), 0)
	ended, end := context.WithCancel(t.Context())
	end()
	errs := 0
	for _, err := range s.store.Due(ended, s.now, true) {
		if errs++; err == nil || errors.Is(err, keypackage.ErrUnreadable) {
			t.Errorf("an ended context leads to %v", err)
		}
	}
	equal(t, "errors of an ended context", errs, 1)
}

// More than one call of the tombstones is needed; whoever has enough stops.
func TestDueOfMany(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	for i := range 60 {
		s.ending(fmt.Sprint(i), s.now)
	}
	equal(t, "due", len(all(t, s.store.Due(t.Context(), s.now, true))), 60)
	for range s.store.Due(t.Context(), s.now, true) {
		break
	}
}

// Each call begins at another shard, so that no delivery is always the last.
func TestDueBeginsAnywhere(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	for i := range 8 {
		s.deliver(fmt.Sprint(i), func(d *keypackage.Delivery) { d.ExpiresAt, d.DueShard = s.now, 1+8*i })
	}
	first := make(map[string]bool)
	for range 30 { // a start that is always the same by chance is as good as impossible
		for d, err := range s.store.Due(t.Context(), s.now, true) {
			s.must(err)
			first[d.ID] = true
			break
		}
	}
	if len(first) < 2 {
		t.Errorf("always the same is first: %v", first)
	}
}

// What cannot be read is said to be so, and the rest goes on; the first in every order is no exception.
func TestUnreadableDeliveries(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	good := s.ending("good", s.now)
	spoil := map[string]map[string]any{
		"word for a number": {"push_no": "one"},
		"no requester":      {"requester_pubkey": "nobody"},
		"no package":        {"package": nil},
		"another package":   {"keypackage_event_id": "x"},
		"no ledger entry":   {"ledger_id": ""},
		"a path":            {"ledger_id": "a/b"},
		"no requests":       {"request_ids": []string{}},
		"no name":           {"ledger_id": ".."},
		"a reserved name":   {"ledger_id": "__ledger__"},
		"a long name":       {"ledger_id": strings.Repeat("l", 1501)},
		"owner with a path": {"keypackage_owner_pubkey": "a/b"},
		"a long owner":      {"keypackage_owner_pubkey": strings.Repeat("o", 1490)},
	}
	for name, fields := range spoil {
		d := s.ending(name, s.now.Add(-time.Hour))
		_, err := s.Client.Doc(s.deliveryPath(d.ID)).Set(t.Context(), fields, firestore.MergeAll)
		s.must(err)
	}
	due, unreadable := readable(t, s.store.Due(t.Context(), s.now, true))
	equal(t, "due", deliveryIDs(due), []string{good.ID})
	equal(t, "unreadable", unreadable, len(spoil))
	open := must(s.store.OpenFor(t.Context(), s.requester, "", 1))(t)
	equal(t, "open for the requester", deliveryIDs(open), []string{good.ID})
	waiting, unreadable := readable(t, s.store.Waiting(t.Context(), s.now.Add(-2*time.Hour)))
	equal(t, "waiting", []int{len(waiting), unreadable}, []int{1, len(spoil)})
}

// Waiting goes through the open deliveries that end after that time.
func TestWaiting(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	s.ending("over", s.now)
	var want []string
	for i := range 5 {
		want = append(want, s.ending(fmt.Sprint(i), s.now.Add(time.Second)).ID)
	}
	expired := s.ending("expired", s.now.Add(time.Second))
	expired.Expire(false, s.now)
	s.must(s.store.Expire(t.Context(), []*keypackage.Delivery{expired}))
	var got []string
	for _, d := range all(t, s.store.Waiting(t.Context(), s.now)) {
		got = append(got, d.ID)
		equal(t, "delivery", d, *s.read(d.ID))
	}
	equal(t, "waiting", sorted(got...), want)
}

// A delivery that ends, however it does, is in no index by its end any more.
func TestEndedDeliveriesHaveNoShard(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	pushed := s.deliver("pushed", nil)
	pushed.BeginPush(s.now, "holder", keypackage.Lease)
	s.must(s.store.BeginPush(t.Context(), []*keypackage.Delivery{pushed}))
	equal(t, "shard of a push", s.read(pushed.ID).DueShard, pushed.DueShard)
	pushed.Finish(pushed.PushNo, keypackage.ResultDelivered, s.now)
	s.must(s.store.SaveResults(t.Context(), []*keypackage.Delivery{pushed}))
	expired := s.deliver("expired", nil)
	expired.Expire(false, s.now)
	s.must(s.store.Expire(t.Context(), []*keypackage.Delivery{expired}))
	for id, stored := range s.In(s.Collections.Deliveries) {
		if shard, ok := stored.Fields["due_shard"]; ok {
			t.Errorf("%s is still in shard %v", id, shard)
		}
	}
}

// Expire saves the deliveries; a package that is returned is back in stock afterwards, as it was, and its ledger entry is
// gone if it is one-time and names the delivery.
func TestExpire(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		before          func(*deliveries, *keypackage.Delivery)
		returned, freed bool
	}{
		"untouched":         {before: func(s *deliveries, d *keypackage.Delivery) { s.claimed(d) }, returned: true, freed: true},
		"no ledger entry":   {returned: true, freed: true},
		"used by another":   {before: func(s *deliveries, d *keypackage.Delivery) { s.ledgered(d, keypackage.UseOneTime, "another") }, returned: true},
		"shared":            {before: func(s *deliveries, d *keypackage.Delivery) { s.ledgered(d, keypackage.UseReserve, d.ID) }, returned: true},
		"exposure unknown":  {before: func(s *deliveries, d *keypackage.Delivery) { s.claimed(d); d.ExposureUnknown = true }},
		"parked":            {before: func(s *deliveries, d *keypackage.Delivery) { s.claimed(d); d.Parked = true }},
		"re-broadcast":      {before: func(s *deliveries, d *keypackage.Delivery) { s.claimed(d); s.rebroadcast(d) }, returned: true, freed: true},
		"its own time over": {before: func(s *deliveries, d *keypackage.Delivery) { s.claimed(d); d.PackageExpires = s.now }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDeliveries(t)
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
func (s *deliveries) claimed(d *keypackage.Delivery) { s.ledgered(d, keypackage.UseOneTime, d.ID) }

func (s *deliveries) ledgered(d *keypackage.Delivery, use keypackage.Use, deliveryID string) {
	s.t.Helper()
	s.Put(fixture.Documents{s.Collections.Ledger + "/" + d.Hash: keypackage.Ledger{Use: use, DeliveryID: deliveryID}})
}

// rebroadcast stores the delivery's package anew, as the relay does that receives it again.
func (s *deliveries) rebroadcast(d *keypackage.Delivery) {
	s.t.Helper()
	s.Put(fixture.Documents{s.Collections.KeyPackages + "/" + d.PackageID: map[string]any{"received": "again"}})
}

// Expire is one transaction, provided that no delivery has changed, that no returned package has a tombstone, and that
// the ledger entries are what they were.
func TestExpireConflicts(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*deliveries, *keypackage.Delivery){
		"changed":    func(s *deliveries, d *keypackage.Delivery) { s.touch(s.deliveryPath(d.ID)) },
		"gone":       func(s *deliveries, d *keypackage.Delivery) { s.Delete(s.deliveryPath(d.ID)) },
		"push begun": func(s *deliveries, d *keypackage.Delivery) { s.pushElsewhere(d) },
		"tombstone":  func(s *deliveries, d *keypackage.Delivery) { s.tombstone(d.PackageID) },
	}
	for name, meanwhile := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDeliveries(t)
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
	s := newDeliveries(t)
	d := s.deliver("a", nil)
	s.tombstone("a")
	d.Expire(true, s.now)
	s.must(s.store.Expire(t.Context(), []*keypackage.Delivery{d}))
	equal(t, "reason", s.read(d.ID).Reason, keypackage.ExpiredTombstoned)
	equal(t, "stock", len(s.In(s.Collections.KeyPackages)), 0)
}
