package claiming

import (
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// handOut turns what was selected into deliveries, ledger entries and counts.
func (d *decision) handOut(claim *keypackage.Claim, u Unit, pair *keypackage.Pair, t selection) {
	for _, c := range t.oneTime {
		delivery := d.deliver(claim, u, pair, c, false)
		ledger := keypackage.NewLedger(&c.Package, keypackage.UseOneTime, delivery.ID, d.now)
		d.plan.Consumed = append(d.plan.Consumed, Handout{Candidate: c, Ledger: ledger, NewUse: true})
		d.valid = slices.DeleteFunc(d.valid, func(v *keypackage.Candidate) bool { return v == c })
	}
	if len(t.oneTime) > 0 {
		d.plan.Owner.HandedOut = d.plan.Owner.HandedOut.Add(d.now, len(t.oneTime))
		d.plan.WriteOwner = true
	}
	if c := t.reserve; c != nil {
		event := d.eventFor(u.Request, c)
		delivery := d.deliver(claim, u, pair, event, true)
		d.handOutReserve(c, event, delivery.ID)
	}
}

// eventFor chooses among the events of a package. Clients that do not ask for kind 30443 may not subscribe to it, and would
// never be sent an event of that kind.
func (d *decision) eventFor(req *keypackage.Request, c *keypackage.Candidate) *keypackage.Candidate {
	if twin, ok := d.twins[c.Hash]; ok && c.Addressable && (req.REQ || !req.PreferAddressable) {
		return twin
	}
	return c
}

func (d *decision) deliver(
	claim *keypackage.Claim, u Unit, pair *keypackage.Pair, c *keypackage.Candidate, reserve bool,
) *keypackage.Delivery {
	delivery := keypackage.NewDelivery(u.Request, &c.Package, reserve, d.limits.DeliveryTTL, d.now)
	if u.Holder != "" {
		delivery.BeginPush(d.now, u.Holder, keypackage.LocalLease)
	}
	d.plan.Created = append(d.plan.Created, delivery)
	d.open[delivery.ID] = joinable{delivery: delivery}
	pair.Open = append(pair.Open, keypackage.OpenDelivery{DeliveryID: delivery.ID, Ask: u.Request.Ask, ExpiresAt: delivery.ExpiresAt})
	claim.Grant(delivery)
	return delivery
}

// handOutReserve hands out one of a reserve's events. It stays in stock, but from now on as shared; once per plan and event is
// enough.
func (d *decision) handOutReserve(c, event *keypackage.Candidate, deliveryID string) {
	if slices.ContainsFunc(d.plan.Reserves, func(h Handout) bool { return h.Candidate == event }) {
		return
	}
	d.plan.Reserves = append(d.plan.Reserves, Handout{
		Candidate: event, NewUse: c.Use == keypackage.UseNone,
		Ledger: keypackage.NewLedger(&c.Package, keypackage.UseReserve, deliveryID, d.now),
	})
	c.Use = keypackage.UseReserve
}
