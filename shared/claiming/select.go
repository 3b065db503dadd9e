package claiming

import (
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// selection is what one unit gets from stock.
type selection struct {
	oneTime      []*keypackage.Candidate
	reserve      *keypackage.Candidate
	overBudget   bool // there are more one-time packages, as far as is known, than the owner's budget allows
	unknownSuite bool // no package can match, whatever is in stock
}

// selectPackages selects up to need packages, at most budget of them one-time. It reads no further than it must: with enough
// fresh packages, oldest first, and another valid one of each ciphersuite remaining, the rest of the stock cannot change the
// choice. Only at the end of the stock does the order of use decide what the owner's reserve is.
func (d *decision) selectPackages(req *keypackage.Request, need int, hasReserve bool, budget int) (selection, error) {
	if need <= 0 {
		return selection{}, nil
	}
	if !req.AnySuite && req.Suite == 0 {
		return selection{unknownSuite: true}, nil
	}
	var t selection
	if req.PreferAddressable && !req.REQ && !hasReserve {
		if t.reserve = d.addressableFor(req); t.reserve != nil {
			need--
		}
	}
	if d.stock.complete {
		t.oneTime = upTo(need, d.oneTimeOfAll(req))
		if t.overBudget = len(t.oneTime) > budget; t.overBudget {
			d.require(t.oneTime...)
		}
		t.oneTime = upTo(budget, t.oneTime)
	} else {
		t.overBudget = need > budget
		if t.oneTime = upTo(min(need, budget), d.oneTimeOfRead(req)); len(t.oneTime) < min(need, budget) {
			return selection{}, errMoreStock
		}
	}
	if len(t.oneTime) < need && !hasReserve && t.reserve == nil {
		t.reserve = d.reserveFor(req, t.oneTime)
	}
	return t, nil
}

// addressableFor selects the newest addressable package that answers the request. Addressable packages are looked for
// among the newest documents, because their owners keep replacing them.
func (d *decision) addressableFor(req *keypackage.Request) *keypackage.Candidate {
	var newest *keypackage.Candidate
	for _, c := range d.matching(req) {
		if c.Addressable && (newest == nil || c.CreatedAt > newest.CreatedAt) {
			newest = c
		}
	}
	return newest
}

// oneTimeOfAll selects from the whole stock: everything that precedes the reserve of its ciphersuite, except for packages that
// were reserves before.
func (d *decision) oneTimeOfAll(req *keypackage.Request) []*keypackage.Candidate {
	reserves := keypackage.Reserves(d.valid)
	return slices.DeleteFunc(d.matching(req), func(c *keypackage.Candidate) bool { return !c.OneTime() || reserves[c.Suite] == c })
}

// oneTimeOfRead selects from the oldest part of the stock, which has no gap: fresh packages only, as long as another valid
// package of the same ciphersuite is known to remain.
func (d *decision) oneTimeOfRead(req *keypackage.Request) []*keypackage.Candidate {
	left := make(map[mls.Ciphersuite]int)
	for _, c := range d.valid {
		left[c.Suite]++
	}
	return slices.DeleteFunc(d.matching(req), func(c *keypackage.Candidate) bool {
		if !c.OneTime() || c.LastResort || d.stock.beyondGap[c.ID] || left[c.Suite] < 2 {
			return true
		}
		left[c.Suite]--
		return false
	})
}

func upTo(n int, of []*keypackage.Candidate) []*keypackage.Candidate { return of[:min(n, len(of))] }

// reserveFor selects the reserve to hand out: the first in the order of use among the reserves of the ciphersuites that match. Over
// budget the stock was not read to its end; then the last in the order among the newest documents serves. Which is the last, depends on
// all: one that was handed out before comes last. Who does not take addressable events is given one of another package, if there is one.
func (d *decision) reserveFor(req *keypackage.Request, consumed []*keypackage.Candidate) *keypackage.Candidate {
	pool := slices.DeleteFunc(slices.Clone(d.valid), func(c *keypackage.Candidate) bool {
		return slices.Contains(consumed, c) || (!d.stock.complete && !d.stock.newest[c.ID]) || !req.Takes(d.eventFor(req, c).Kind)
	})
	for _, c := range pool {
		if req.Matches(c.Suite) {
			d.require(c)
		}
	}
	var reserve *keypackage.Candidate
	for suite, c := range keypackage.Reserves(pool) {
		if req.Matches(suite) && (reserve == nil || keypackage.CompareUse(c, reserve) < 0) {
			reserve = c
		}
	}
	return reserve
}

// require says that the decision is another one if any of the candidates is not what it seems.
func (d *decision) require(candidates ...*keypackage.Candidate) {
	d.plan.decisive = append(d.plan.decisive, candidates...)
}

// matching returns the valid packages that answer the request, in the order of use.
func (d *decision) matching(req *keypackage.Request) []*keypackage.Candidate {
	pool := slices.DeleteFunc(slices.Clone(d.valid), func(c *keypackage.Candidate) bool { return !req.Matches(c.Suite) })
	slices.SortFunc(pool, keypackage.CompareUse)
	return pool
}

// handOut turns what was selected into deliveries, ledger entries and counts.
func (d *decision) handOut(claim *keypackage.Claim, u Unit, t selection) {
	for _, c := range t.oneTime {
		delivery := d.deliver(claim, u, c, false)
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
		delivery := d.deliver(claim, u, event, true)
		if !slices.ContainsFunc(d.plan.Reserves, func(h Handout) bool { return h.Candidate == event }) { // once per plan and event
			ledger := keypackage.NewLedger(&c.Package, keypackage.UseReserve, delivery.ID, d.now)
			d.plan.Reserves = append(d.plan.Reserves, Handout{Candidate: event, Ledger: ledger, NewUse: c.Use == keypackage.UseNone})
			c.Use = keypackage.UseReserve // it stays in stock, but from now on as shared
		}
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

func (d *decision) deliver(claim *keypackage.Claim, u Unit, c *keypackage.Candidate, reserve bool) *keypackage.Delivery {
	stored := &keypackage.StoredDelivery{Delivery: *keypackage.NewDelivery(u.Request, &c.Package, reserve, d.limits.DeliveryTTL, d.now)}
	delivery := &stored.Delivery
	if u.Holder != "" {
		delivery.BeginPush(d.now, u.Holder, keypackage.LocalLease)
	}
	d.plan.Created = append(d.plan.Created, delivery)
	d.open[delivery.ID] = stored
	pair := d.pair(u.Request.Requester)
	pair.Open = append(pair.Open, keypackage.OpenDelivery{DeliveryID: delivery.ID, Ask: u.Request.Ask, ExpiresAt: delivery.ExpiresAt})
	claim.Grant(delivery)
	return delivery
}
