package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// deliveries is a world with deliveries of invented packages: nothing here looks into them.
type deliveries struct {
	*world
	requester string
}

// deliveryOwner is whose packages are delivered.
const deliveryOwner = "owner"

func newDeliveries(t *testing.T) *deliveries { return &deliveries{newWorld(t), actors.NewKey().Pubkey} }

// deliver puts a pending delivery of a package with that id, after edit has changed it.
func (s *deliveries) deliver(packageID string, edit func(*keypackage.Delivery)) *keypackage.Delivery {
	s.t.Helper()
	d := &keypackage.Delivery{
		ID: keypackage.DeliveryID("request", packageID), RequestID: "request", RequestIDs: []string{"request"},
		Requester: s.requester, Owner: deliveryOwner, PackageID: packageID, Hash: "hash of " + packageID,
		Package:     keypackage.Document{keypackage.FieldEventID: packageID, keypackage.FieldCreatedAt: int64(1)},
		RequestedAt: s.now, CreatedAt: s.now, ExpiresAt: s.now.Add(deliveryTTL), PackageExpires: s.now.Add(time.Hour),
		State: keypackage.StatePending, DueShard: 1 + len(packageID)%keypackage.Shards,
	}
	if edit != nil {
		edit(d)
	}
	s.Put(fixture.Documents{s.deliveryPath(d.ID): d})
	return s.read(d.ID)
}

// read returns a delivery as the use cases read it.
func (s *deliveries) read(id string) *keypackage.Delivery {
	s.t.Helper()
	found := must(s.store.Deliveries(s.t.Context(), []keypackage.DeliveryRef{{ID: id, Owner: deliveryOwner}}))(s.t)
	if len(found) != 1 {
		s.t.Fatalf("%d deliveries instead of one", len(found))
	}
	return &found[0].Delivery
}

func (s *deliveries) tombstone(packageID string) {
	s.t.Helper()
	s.Put(fixture.Documents{s.tombstonePath(packageID, deliveryOwner): map[string]any{keypackage.FieldEventID: packageID}})
}

func deliveryIDs(found []keypackage.StoredDelivery) []string {
	var ids []string
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return ids
}

// delivering.Store: Announced returns what exists of all that an announcement names.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	want := s.deliver("tombstoned", func(d *keypackage.Delivery) { d.LeaseUntil, d.PushNo = s.now, 3 })
	s.deliver("not named", nil)
	s.tombstone("tombstoned")
	claim := keypackage.Claim{RequestID: want.RequestID, Owner: deliveryOwner, Owners: []string{deliveryOwner}, Granted: 1, CreatedAt: s.now}
	s.Put(fixture.Documents{s.claimPath(want.RequestID, deliveryOwner): claim})
	answer, found, err := s.store.Announced(t.Context(), keypackage.Announcement{
		RequestID: want.RequestID, Granted: map[string][]string{"nobody": {"no_package"}, deliveryOwner: {"tombstoned", "no_package"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "claims", claimIDs(answer), []string{want.RequestID + "_" + deliveryOwner})
	equal(t, "found", found, []keypackage.StoredDelivery{{Delivery: *want}})
	equal(t, "version", found[0].Version, s.All()[s.deliveryPath(want.ID)].Updated)

	answer, found, err = s.store.Announced(t.Context(), keypackage.Announcement{RequestID: want.RequestID})
	equal(t, "of no names", []any{answer.Empty(), len(found), err}, []any{true, 0, nil})
}

// The claim of a request for one owner comes with its deliveries; of one that has none there it is left out.
func TestAnnouncedByOneOwner(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	claim := keypackage.Claim{
		Owner: deliveryOwner, Owners: []string{deliveryOwner}, Granted: 1, RetryAt: s.now, CreatedAt: s.now, KeepUntil: s.now,
	}
	with := s.deliver("with", func(d *keypackage.Delivery) { claim.RequestID = d.RequestID; d.Claim = &claim })
	without := s.deliver("without", nil)
	for _, c := range []struct {
		delivery *keypackage.Delivery
		claims   []keypackage.Claim
	}{{with, []keypackage.Claim{claim}}, {without, nil}} {
		answer, found, err := s.store.Announced(t.Context(), keypackage.Announcement{
			RequestID: c.delivery.RequestID, Granted: map[string][]string{deliveryOwner: {c.delivery.PackageID}},
		})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "claims", answer.Claims, c.claims)
		equal(t, "found", found, []keypackage.StoredDelivery{{Delivery: *c.delivery}})
	}
}

// delivering.Store: Answer returns what is recorded of the answer to a request.
func TestAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	documents := make(fixture.Documents)
	for _, id := range []string{"mine", "another"} {
		for _, owner := range []string{"bob", "carol"} {
			documents[w.claimPath(id, owner)] = keypackage.Claim{RequestID: id, Owner: owner, Granted: 1, CreatedAt: w.now}
		}
	}
	w.Put(documents)
	found := must(w.store.Answer(t.Context(), "mine"))(t)
	equal(t, "ids", claimIDs(found), []string{"mine_bob", "mine_carol"})
	equal(t, "created", found.CreatedAt(), w.now)
	equal(t, "of an unknown request", must(w.store.Answer(t.Context(), "unknown"))(t).Empty(), true)
}

// Deliveries returns those of the deliveries that exist, with what the tombstones say.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	want := s.deliver("tombstoned", func(d *keypackage.Delivery) { d.LeaseUntil, d.PushNo = s.now, 3 })
	other := s.deliver("other", nil)
	s.tombstone("tombstoned")
	s.Put(fixture.Documents{s.tombstonePath("other", "a stranger"): map[string]any{keypackage.FieldEventID: "other"}})
	found := must(s.store.Deliveries(t.Context(), []keypackage.DeliveryRef{want.Ref(), {ID: "no_delivery", Owner: deliveryOwner}, other.Ref()}))(t)
	slices.SortFunc(found, func(a, b keypackage.StoredDelivery) int { return len(b.ID) - len(a.ID) })
	equal(t, "found", found, []keypackage.StoredDelivery{{Delivery: *want, Tombstoned: true}, {Delivery: *other}})
	equal(t, "version", found[0].Version, s.All()[s.deliveryPath(want.ID)].Updated)
	equal(t, "of none", len(must(s.store.Deliveries(t.Context(), nil))(t)), 0)
}

// OpenFor returns the open deliveries for the requester page by page, in the order of their ids.
func TestOpenFor(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	var open []string
	for i, state := range []keypackage.State{
		keypackage.StatePending, keypackage.StateSending, keypackage.StateDelivered, keypackage.StateExpired,
	} {
		d := s.deliver(fmt.Sprint(i), func(d *keypackage.Delivery) { d.State = state })
		if d.Open() {
			open = append(open, d.ID)
		}
	}
	s.deliver("of another", func(d *keypackage.Delivery) { d.Requester = actors.NewKey().Pubkey })

	found := must(s.store.OpenFor(t.Context(), s.requester, "", 10))(t)
	equal(t, "open, by id", deliveryIDs(found), sorted(open...))
	for _, f := range found {
		equal(t, "delivery", f.Delivery, *s.read(f.ID))
	}
	first := must(s.store.OpenFor(t.Context(), s.requester, "", 1))(t)
	second := must(s.store.OpenFor(t.Context(), s.requester, first[0].ID, 1))(t)
	equal(t, "page by page", deliveryIDs(append(first, second...)), sorted(open...))
	equal(t, "beyond the last", len(must(s.store.OpenFor(t.Context(), s.requester, second[0].ID, 1))(t)), 0)
}

// BeginPush saves the deliveries, in one transaction, and updates their Version to what the documents have.
func TestBeginPush(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	batch := []*keypackage.Delivery{s.deliver("a", nil), s.deliver("b", nil)}
	for range 3 { // a push may follow another; each writes under the version of the one before
		for _, d := range batch {
			d.BeginPush(s.now, "holder", keypackage.Lease)
		}
		s.must(s.store.BeginPush(t.Context(), batch))
		for _, d := range batch {
			equal(t, "saved", s.read(d.ID), d)
		}
	}
	equal(t, "versions", batch[0].Version, batch[1].Version)
}

// SaveResults saves what Finish has changed, under the Version that BeginPush has set.
func TestSaveResults(t *testing.T) {
	t.Parallel()
	results := []keypackage.PushResult{
		keypackage.ResultDelivered, keypackage.ResultNoSession, keypackage.ResultRejected, keypackage.ResultUnknown, keypackage.ResultNotSent,
	}
	s := newDeliveries(t)
	var batch []*keypackage.Delivery
	for _, result := range results {
		d := s.deliver(string(result), nil)
		d.BeginPush(s.now, "holder", keypackage.Lease)
		batch = append(batch, d)
	}
	s.must(s.store.BeginPush(t.Context(), batch))
	for i, d := range batch {
		if !d.Finish(d.PushNo, results[i], s.now) {
			t.Fatalf("result %s changes nothing", results[i])
		}
	}
	s.must(s.store.SaveResults(t.Context(), batch))
	for _, d := range batch {
		saved := s.read(d.ID)
		saved.Version = d.Version
		equal(t, string(d.LastResult), saved, d)
	}
	s.must(s.store.SaveResults(t.Context(), nil))
}

// Both writes of a push save all or none, provided that nothing has changed since it was read.
func TestPushConflicts(t *testing.T) {
	t.Parallel()
	writes := map[string]func(*deliveries, []*keypackage.Delivery) error{
		"begin": func(s *deliveries, d []*keypackage.Delivery) error { return s.store.BeginPush(s.t.Context(), d) },
		"save":  func(s *deliveries, d []*keypackage.Delivery) error { return s.store.SaveResults(s.t.Context(), d) },
	}
	type meanwhile = func(*deliveries, *keypackage.Delivery)
	common := map[string]meanwhile{
		"changed":        func(s *deliveries, d *keypackage.Delivery) { s.touch(s.deliveryPath(d.ID)) },
		"gone":           func(s *deliveries, d *keypackage.Delivery) { s.Delete(s.deliveryPath(d.ID)) },
		"pushed already": func(s *deliveries, d *keypackage.Delivery) { s.pushElsewhere(d) },
	}
	for name, write := range writes {
		cases := map[string]meanwhile{}
		for k, v := range common {
			cases[name+": "+k] = v
		}
		if name == "begin" {
			cases["begin: tombstone"] = func(s *deliveries, d *keypackage.Delivery) { s.tombstone(d.PackageID) }
		}
		for name, meanwhile := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newDeliveries(t)
				batch := []*keypackage.Delivery{s.deliver("a", nil), s.deliver("b", nil)}
				meanwhile(s, batch[1])
				for _, d := range batch {
					d.BeginPush(s.now, "holder", keypackage.Lease)
				}
				read := batch[0].Version
				s.writesNothing(func() error { return write(s, batch) })
				equal(t, "version after a conflict", batch[0].Version, read)
			})
		}
	}
}

func (s *deliveries) pushElsewhere(d *keypackage.Delivery) {
	s.t.Helper()
	other := *d
	other.BeginPush(s.now, "holder", keypackage.Lease)
	s.must(s.Store().BeginPush(s.t.Context(), []*keypackage.Delivery{&other}))
}

// An answer is recorded even if the owner has deleted the package meanwhile.
func TestSaveResultsOfATombstonedPackage(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	batch := []*keypackage.Delivery{s.deliver("a", nil)}
	batch[0].BeginPush(s.now, "holder", keypackage.Lease)
	s.must(s.store.BeginPush(t.Context(), batch))
	s.tombstone("a")
	batch[0].Finish(batch[0].PushNo, keypackage.ResultDelivered, s.now)
	s.must(s.store.SaveResults(t.Context(), batch))
	equal(t, "state", s.read(batch[0].ID).State, keypackage.StateDelivered)
}
