package claiming

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// now is the time at which everything in these tests happens.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var (
	alice = fmt.Sprintf("%064x", 0xa11ce)
	bob   = fmt.Sprintf("%064x", 0xb0b)
	carol = fmt.Sprintf("%064x", 0xca401)
)

var generous = Limits{DeliveryTTL: 5 * time.Minute, PairLimitPerHour: 10, OwnerBudgetPerHour: 100}

// candidate returns a valid package of Bob's, of suite 1, whose bytes no other has.
func candidate(id string, created int64, edits ...func(*keypackage.Candidate)) *keypackage.Candidate {
	c := &keypackage.Candidate{
		Package: keypackage.Package{
			ID: id, Owner: bob, Kind: keypackage.KindKeyPackage, Suite: 1, Hash: "hash of " + id, Slot: id, CreatedAt: created,
			ExpiresAt: now.Add(time.Hour), NotAfter: now.Add(time.Hour),
			Document: keypackage.Document{keypackage.FieldEventID: id, keypackage.FieldCreatedAt: created},
		},
		Stored: now.Add(-time.Hour), Version: now.Add(-time.Hour),
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func lastResort(c *keypackage.Candidate)    { c.LastResort = true }
func usedAsReserve(c *keypackage.Candidate) { c.Use = keypackage.UseReserve }
func used(c *keypackage.Candidate)          { c.Use = keypackage.UseOneTime }
func expired(c *keypackage.Candidate)       { c.ExpiresAt = now }
func tombstoned(c *keypackage.Candidate)    { c.Tombstoned = true }
func flawed(c *keypackage.Candidate)        { c.Flaw = "leaf_signature" }
func addressable(c *keypackage.Candidate) {
	c.Addressable, c.Kind = true, keypackage.KindAddressableKeyPackage
}

func unborn(c *keypackage.Candidate) {
	c.Lifetime = &mls.Lifetime{NotBefore: uint64(now.Unix()) + 60, NotAfter: uint64(now.Unix()) + 3600}
}

func suite(s mls.Ciphersuite) func(*keypackage.Candidate) {
	return func(c *keypackage.Candidate) { c.Suite = s }
}

func bytes(hash string) func(*keypackage.Candidate) {
	return func(c *keypackage.Candidate) { c.Hash = hash }
}

// fresh returns n one-time packages of suite 1, k1 the oldest.
func fresh(n int) []*keypackage.Candidate {
	all := make([]*keypackage.Candidate, n)
	for i := range all {
		all[i] = candidate(fmt.Sprintf("k%d", i+1), int64(i))
	}
	return all
}

// ask returns a unit: a request of Alice's for Bob's packages of any ciphersuite.
func ask(id string, wanted int, edits ...func(*keypackage.Request)) Unit {
	req := &keypackage.Request{
		ID: id, Requester: alice, Owners: []string{bob}, Min: wanted, AnySuite: true, Ask: "any",
		CreatedAt: now, ValidUntil: now.Add(time.Hour), ReceivedAt: now,
	}
	for _, edit := range edits {
		edit(req)
	}
	return Unit{Request: req, Owner: bob}
}

// req returns the unit of a REQ of Alice's for one of Bob's packages.
func req(id string, takesAddressable bool, edits ...func(*keypackage.Request)) Unit {
	r := keypackage.NewREQ(id, alice, bob, takesAddressable, generous.DeliveryTTL, now)
	r.Ask = "any" // as ask
	for _, edit := range edits {
		edit(r)
	}
	return Unit{Request: r, Owner: bob}
}

func ofSuite(s mls.Ciphersuite) func(*keypackage.Request) {
	return func(r *keypackage.Request) { r.AnySuite, r.Suite, r.Ask = false, s, fmt.Sprint("suite ", s) }
}

func by(requester string) func(*keypackage.Request) {
	return func(r *keypackage.Request) { r.Requester = requester }
}

func preferAddressable(r *keypackage.Request) { r.PreferAddressable = true }

// nothingKnown is the view of an owner and requesters who were never seen before.
func nothingKnown() *View {
	return &View{Owner: keypackage.Owner{Pubkey: bob}, Pairs: map[string]keypackage.Pair{}, Open: map[string]keypackage.StoredDelivery{}}
}

// handedOut returns the view of an owner of whom n one-time packages were handed out in the last minutes.
func handedOut(n int) *View {
	view := nothingKnown()
	view.Owner.HandedOut = keypackage.Window{}.Add(now.Add(-10*time.Minute), n)
	return view
}

// whole is a stock that was read to its end.
func whole(documents ...*keypackage.Candidate) *stock {
	return &stock{documents: slices.SortedFunc(slices.Values(documents), keypackage.CompareAge), complete: true}
}

func decided(t *testing.T, units []Unit, view *View, s *stock, limits Limits) *Plan {
	t.Helper()
	plan, err := decide(units, view, s, limits, now)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func consumed(plan *Plan) []string { return handoutIDs(plan.Consumed) }

func handoutIDs(handouts []Handout) []string {
	ids := []string{}
	for _, h := range handouts {
		ids = append(ids, h.Candidate.ID)
	}
	return ids
}

func candidateIDs(candidates []*keypackage.Candidate) []string {
	ids := []string{}
	for _, c := range candidates {
		ids = append(ids, c.ID)
	}
	return ids
}

// packages returns the ids of the packages that a claim stands for.
func packages(claim keypackage.Claim) []string {
	ids := []string{}
	for _, id := range claim.DeliveryIDs {
		ids = append(ids, keypackage.PackageOf(id))
	}
	return ids
}
