package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// reading is how long a frame may take from the relay's socket to the requester's clock on a busy machine.
const reading = 10 * time.Second

// matcher finds out which delivery brought what a requester has received. Frames do not say it, but the proxy in front of
// the relay has noted which deliveries each push carried, and when. What a gateway pushes by itself it cannot see.
type matcher struct {
	byPackage map[string][]keypackage.Delivery // those that count as delivered first, then oldest first
	underWay  map[string][]period              // in which a push carried it, by delivery id
	arrived   map[string]time.Time             // first, by delivery id
	repeated  int
}

func newMatcher(deliveries map[string]keypackage.Delivery, pushes map[string][]period) *matcher {
	m := &matcher{
		byPackage: make(map[string][]keypackage.Delivery), underWay: pushes, arrived: make(map[string]time.Time),
	}
	for _, d := range deliveries {
		m.byPackage[d.PackageID] = append(m.byPackage[d.PackageID], d)
	}
	for _, of := range m.byPackage {
		slices.SortFunc(of, func(a, b keypackage.Delivery) int {
			return cmp.Or(undelivered(a)-undelivered(b), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		})
	}
	return m
}

func undelivered(d keypackage.Delivery) int {
	if d.State == keypackage.StateDelivered {
		return 0
	}
	return 1
}

// received lists all that the requester has received. The error says that something did not verify.
func (m *matcher) received(r *requester) ([]invariants.Received, error) {
	arrivals, err := r.client.AwaitKeyPackages(context.Background(), 0)
	byPackage := make(map[string][]actors.KeyPackage)
	for _, a := range arrivals {
		byPackage[a.Event.ID] = append(byPackage[a.Event.ID], a)
	}
	var received []invariants.Received
	for id, of := range byPackage {
		times := make([]time.Time, len(of))
		for i, a := range of {
			times[i] = a.At
		}
		for i, deliveryID := range m.match(r.Pubkey, id, times) {
			received = append(received, invariants.Received{
				DeliveryID: deliveryID, Session: r.Pubkey, PackageID: id, Raw: of[i].Raw, At: of[i].At,
			})
		}
	}
	return received, err
}

// match names, for each arrival of a package at a requester, the delivery that brought it; "" is one that no push explains,
// which the checker reports. A requester may have several deliveries of one reserve under way, each for another group. So
// that nothing is called lost as long as there is any way to explain what arrived, as many deliveries as possible get an
// arrival of their own. What is left over is a repetition.
func (m *matcher) match(requester, packageID string, times []time.Time) []string {
	deliveries := m.byPackage[packageID]
	may := func(delivery, arrival int) bool { return m.broughtBy(deliveries[delivery], requester, times[arrival]) }
	ids := make([]string, len(times))
	for arrival, delivery := range pairUp(len(deliveries), len(times), may) {
		if delivery < 0 {
			delivery = slices.IndexFunc(deliveries, func(d keypackage.Delivery) bool {
				return m.broughtBy(d, requester, times[arrival])
			})
			m.repeated++
		}
		if delivery >= 0 {
			ids[arrival] = deliveries[delivery].ID
			m.arrive(ids[arrival], times[arrival])
		}
	}
	return ids
}

func (m *matcher) arrive(id string, at time.Time) {
	if first, again := m.arrived[id]; !again || at.Before(first) {
		m.arrived[id] = at
	}
}

// unseen says of every delivery that it may have been pushed as long as it lived, besides what was seen.
func unseen(deliveries map[string]keypackage.Delivery, pushes map[string][]period) {
	for id, d := range deliveries {
		pushes[id] = append(pushes[id], period{since: d.CreatedAt, until: d.ExpiresAt})
	}
}

// broughtBy reports whether one of the delivery's pushes can have brought what arrived then.
func (m *matcher) broughtBy(d keypackage.Delivery, requester string, at time.Time) bool {
	return d.Requester == requester && slices.ContainsFunc(m.underWay[d.ID], func(p period) bool {
		return !at.Before(p.since) && (p.open() || at.Before(p.until.Add(reading)))
	})
}

// pairUp gives as many deliveries as possible an arrival each, the first ones before the others, and returns for each
// arrival the delivery or -1. A delivery that finds every arrival taken moves another one on, if that can take a third
// (augmenting paths; H. W. Kuhn, 1955).
func pairUp(deliveries, arrivals int, may func(delivery, arrival int) bool) []int {
	taken := slices.Repeat([]int{-1}, arrivals)
	var place func(delivery int, tried []bool) bool
	place = func(delivery int, tried []bool) bool {
		for arrival := range arrivals {
			if tried[arrival] || !may(delivery, arrival) {
				continue
			}
			tried[arrival] = true
			if taken[arrival] < 0 || place(taken[arrival], tried) {
				taken[arrival] = delivery
				return true
			}
		}
		return false
	}
	for delivery := range deliveries {
		place(delivery, make([]bool, arrivals))
	}
	return taken
}
