package store_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A document named so that no other could be named after it does not end the look-up of its neighbours.
func TestLookUpOfWhatHasNoName(t *testing.T) {
	t.Parallel()
	w, owner := newWorld(t), actors.NewKey()
	packages := fixture.Packages(t, owner, 2)
	long := unsigned(packages[0])
	id := strings.Repeat("x", 1490)
	w.Put(fixture.Documents{w.Collections.KeyPackages + "/" + id: map[string]any(long)})
	w.PutPackages(packages[1])
	found := must(w.store.Oldest(t.Context(), owner.Pubkey, nil, 10))(t)
	equal(t, "in stock", len(found), 2)
	for _, c := range found {
		equal(t, "flawed", c.Flaw != "", c.ID == id)
		equal(t, "looked up", c.LookedUp, c.ID != id)
	}
}

// What the ledger says in a way that cannot be read is no reason to hand a package out: it may have been.
func TestLedgerEntryThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w, owner := newWorld(t), actors.NewKey()
	packages := fixture.Packages(t, owner, 3)
	w.PutPackages(packages...)
	w.Put(fixture.Documents{
		w.ledgerPath(packages[0]): map[string]any{"use": 1, "owner_pubkey": owner.Pubkey},
		w.ledgerPath(packages[1]): map[string]any{"use": keypackage.UseReserve, "owner_pubkey": owner.Pubkey, "ciphersuite": "0x0001"},
	})
	uses := make(map[string]keypackage.Use)
	for _, c := range must(w.store.Oldest(t.Context(), owner.Pubkey, nil, 10))(t) {
		uses[c.ID] = c.Use
	}
	equal(t, "unreadable", uses[fixture.ID(packages[0])], keypackage.UseOneTime)
	equal(t, "readable", uses[fixture.ID(packages[1])], keypackage.UseReserve)
	equal(t, "none", uses[fixture.ID(packages[2])], keypackage.UseNone)

	holdings := must(w.store.Holdings(t.Context(), owner.Pubkey, w.now))(t)
	equal(t, "suites", len(holdings), 2)
	equal(t, "unreadable entries", holdings[0].Unusable[keypackage.UnusableUnreadable], 1)
	equal(t, "shared", holdings[1].Shared, 1)
}

// One delivery that cannot be read does not keep the others from their requester, nor from being joined.
func TestDeliveriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	good, bad := s.deliver("good", nil), s.deliver("bad", nil)
	s.Put(fixture.Documents{s.deliveryPath(bad.ID): map[string]any{"push_no": "one"}})
	found := must(s.store.Deliveries(t.Context(), []keypackage.DeliveryRef{bad.Ref(), good.Ref()}))(t)
	equal(t, "found", deliveryIDs(found), []string{good.ID})
}

// History is for people: what cannot be read is what they are looking for.
func TestHistoryOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newDeliveries(t)
	bad, nameless := s.deliver("bad", nil), s.deliver("nameless", nil)
	nameless.Hash = ""
	s.Put(fixture.Documents{s.deliveryPath(bad.ID): map[string]any{"push_no": "one"}, s.deliveryPath(nameless.ID): nameless})
	h := must(s.store.History(t.Context(), bad.RequestID))(t)
	equal(t, "deliveries", len(h.Deliveries), 2)
	for _, d := range h.Deliveries {
		equal(t, "unreadable", d.Unreadable, d.ID == bad.ID || d.ID == nameless.ID)
	}
}

// Firestore gives up writes under contention, with a code of those of a lost race. Then the request is not stored.
func TestRequestThatIsNotStoredIsNoDuplicate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, code := range []codes.Code{codes.Aborted, codes.FailedPrecondition, codes.NotFound} {
		added, err := w.over(on("Commit", code, "Too much contention")).AddRequest(t.Context(), "r", map[string]any{"kind": 447})
		if added || !fault.IsRetryable(err) || errors.Is(err, keypackage.ErrConflict) && len(w.In(w.Collections.Requests)) > 0 {
			t.Errorf("%v: added %t, %v", code, added, err)
		}
	}
	for i := range 2 {
		equal(t, "added", must(w.store.AddRequest(t.Context(), "r", map[string]any{"kind": 447}))(t), i == 0)
	}
}
