package soak

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// matcher finds out which delivery brought what a requester has received: frames do not say it.
type matcher struct {
	byPackage map[string][]keypackage.Delivery // oldest first
	arrived   map[string]time.Time             // first, by delivery id
	repeated  int
}

func newMatcher(deliveries map[string]keypackage.Delivery) *matcher {
	m := &matcher{byPackage: make(map[string][]keypackage.Delivery), arrived: make(map[string]time.Time)}
	for _, d := range deliveries {
		m.byPackage[d.PackageID] = append(m.byPackage[d.PackageID], d)
	}
	for _, of := range m.byPackage {
		slices.SortFunc(of, func(a, b keypackage.Delivery) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		})
	}
	return m
}

// received lists all that the requester has received. The error says that something did not verify.
func (m *matcher) received(r *requester) ([]invariants.Received, error) {
	arrivals, err := r.client.AwaitKeyPackages(context.Background(), 0)
	received := make([]invariants.Received, len(arrivals))
	for i, a := range arrivals {
		id := m.match(r.Pubkey, a.Event.ID, a.At)
		received[i] = invariants.Received{DeliveryID: id, Session: r.Pubkey, PackageID: a.Event.ID, Raw: a.Raw, At: a.At}
		if _, again := m.arrived[id]; again {
			m.repeated++
		} else {
			m.arrived[id] = a.At
		}
	}
	return received, err
}

// match prefers a delivery to that requester, then one that was alive, then one that has brought nothing yet, then one that
// counts as delivered: a requester may have several deliveries of one reserve under way, each for another group. Anything
// else breaks a promise, which the checker will say.
func (m *matcher) match(requester, packageID string, at time.Time) string {
	best, bestFit := "", -1
	for _, d := range m.byPackage[packageID] {
		_, again := m.arrived[d.ID]
		alive := !at.Before(d.CreatedAt) && at.Before(d.ExpiresAt)
		fit := 0
		for _, good := range []bool{d.Requester == requester, alive, !again, d.State == keypackage.StateDelivered} {
			fit *= 2
			if good {
				fit++
			}
		}
		if fit > bestFit {
			best, bestFit = d.ID, fit
		}
	}
	return best
}
