package contention

import (
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// outcome is what Firestore holds after a race.
type outcome struct {
	stock      []string // event ids
	claims     []keypackage.Claim
	deliveries map[string]keypackage.Delivery
	ledger     map[string]keypackage.Ledger
	owners     map[string]keypackage.Owner
}

func (s *world) outcome() *outcome {
	s.t.Helper()
	o := &outcome{
		deliveries: read[keypackage.Delivery](s, s.Collections.Deliveries),
		ledger:     read[keypackage.Ledger](s, s.Collections.Ledger),
		owners:     read[keypackage.Owner](s, s.Collections.Owners),
	}
	for id := range s.In(s.Collections.KeyPackages) {
		o.stock = append(o.stock, id)
	}
	for _, claim := range read[keypackage.Claim](s, s.Collections.Claims) {
		o.claims = append(o.claims, claim)
	}
	return o
}

func read[T any](s *world, collection string) map[string]T {
	s.t.Helper()
	snaps, err := s.Client.Collection(collection).Documents(s.t.Context()).GetAll()
	if err != nil {
		s.t.Fatal(err)
	}
	values := make(map[string]T, len(snaps))
	for _, snap := range snaps {
		var value T
		if err := snap.DataTo(&value); err != nil {
			s.t.Fatal(err)
		}
		values[snap.Ref.ID] = value
	}
	return values
}

// audit checks what has to hold after any race, whoever won: every unit has one claim, announced; every package that
// was handed out as one-time went to one request and is out of stock and in the ledger under its delivery; every reserve
// is in stock and in the ledger as shared; every owner still has a package; and the budget counted each package once.
func (s *world) audit(requests []keypackage.RequestDocument) *outcome {
	s.t.Helper()
	o := s.outcome()
	s.auditClaims(o, requests)
	oneTime, entries := make(map[string]int), 0
	for id, d := range o.deliveries {
		entry, inStock := o.ledger[d.Hash], slices.Contains(o.stock, d.PackageID)
		if d.Reserve {
			if entry.Use != keypackage.UseReserve || !inStock {
				s.t.Errorf("reserve %s: use %q, in stock: %t", d.PackageID, entry.Use, inStock)
			}
			continue
		}
		entries++
		oneTime[d.Owner]++
		if entry.Use != keypackage.UseOneTime || entry.DeliveryID != id || inStock {
			s.t.Errorf("one-time package %s: use %q, by this delivery: %t, in stock: %t",
				d.PackageID, entry.Use, entry.DeliveryID == id, inStock)
		}
	}
	used := 0
	for _, entry := range o.ledger {
		if entry.Use == keypackage.UseOneTime {
			used++
		}
	}
	if used != entries {
		s.t.Errorf("%d one-time entries in the ledger for %d packages handed out", used, entries)
	}
	s.auditOwners(o, oneTime)
	return o
}

func (s *world) auditClaims(o *outcome, requests []keypackage.RequestDocument) {
	s.t.Helper()
	units := make(map[string]bool)
	for _, claim := range o.claims {
		units[claim.ID()] = true
		if claim.Granted != len(claim.DeliveryIDs) {
			s.t.Errorf("claim %s: %d granted in %d deliveries", claim.ID(), claim.Granted, len(claim.DeliveryIDs))
		}
		for _, id := range claim.DeliveryIDs {
			if d, ok := o.deliveries[id]; !ok || !slices.Contains(d.RequestIDs, claim.RequestID) {
				s.t.Errorf("claim %s names delivery %s, which is not there or not for it", claim.ID(), id)
			}
		}
	}
	for _, request := range requests {
		owners := 0
		ids, _ := request.Unverified()
		for _, id := range ids {
			if units[id] {
				owners++
			}
		}
		if _, announced := s.published.Load(request.ID); owners != len(ids) || !announced {
			s.t.Errorf("request %s: %d of %d units answered, announced: %t", request.ID, owners, len(ids), announced)
		}
	}
	if len(o.claims) != len(units) {
		s.t.Errorf("%d claims for %d units", len(o.claims), len(units))
	}
}

func (s *world) auditOwners(o *outcome, oneTime map[string]int) {
	s.t.Helper()
	left := make(map[string]int)
	for _, document := range s.In(s.Collections.KeyPackages) {
		owner, _ := document.Fields[keypackage.FieldOwner].(string)
		left[owner]++
	}
	for pubkey, owner := range o.owners {
		counted := 0
		for _, minute := range owner.HandedOut.Minutes {
			counted += minute.Count
		}
		if counted != oneTime[pubkey] {
			s.t.Errorf("owner %s: %d packages counted, %d handed out", pubkey, counted, oneTime[pubkey])
		}
		if left[pubkey] == 0 {
			s.t.Errorf("owner %s has no package left", pubkey)
		}
	}
}
