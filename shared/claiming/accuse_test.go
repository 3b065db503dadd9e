package claiming

import (
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// accuse reports what is wrong with a plan in itself, whatever is stored.
func accuse(a accuser, plan *Plan) {
	a.Helper()
	if !plan.writes() {
		a.Errorf("a plan without anything to write")
	}
	accuseClaims(a, plan)
	accuseHandouts(a, plan)
	accuseRemaining(a, plan)
	written := make(map[string]bool)
	for _, c := range slices.Concat(candidatesOf(plan.Consumed), plan.Removed, plan.Flagged) {
		if written[c.ID] {
			a.Errorf("document %s is written twice", c.ID)
		}
		written[c.ID] = true
	}
	for _, c := range slices.Concat(candidatesOf(plan.Reserves), plan.Remaining) {
		if written[c.ID] {
			a.Errorf("document %s is relied on and written", c.ID)
		}
	}
}

func accuseClaims(a accuser, plan *Plan) {
	a.Helper()
	deliveries := make(map[string]*keypackage.Delivery)
	all := slices.Concat(plan.Created, plan.Joined, plan.JoinedLate)
	for _, d := range all {
		deliveries[d.ID] = d
	}
	if len(deliveries) != len(all) {
		a.Errorf("a delivery is created or joined twice")
	}
	for _, r := range plan.Claims {
		if r.Owner != plan.Owner.Pubkey || r.Status == "" || r.CreatedAt.IsZero() || r.KeepUntil.IsZero() {
			a.Errorf("incomplete claim %+v", r)
		}
		if r.Granted > r.Requested || r.Granted != len(r.DeliveryIDs) {
			a.Errorf("%d granted of %d, in %d deliveries", r.Granted, r.Requested, len(r.DeliveryIDs))
		}
		if full := r.Status == keypackage.StatusFull; full != (r.Granted == r.Requested) {
			a.Errorf("%s with %d of %d", r.Status, r.Granted, r.Requested)
		}
		reserves, named := 0, r.Row().Packages
		for i, id := range r.DeliveryIDs {
			d := deliveries[id]
			late := slices.Contains(plan.JoinedLate, d)
			if d == nil || slices.Contains(d.RequestIDs, r.RequestID) == late || d.Requester != r.Requester {
				a.Errorf("claim of %s names the delivery %s, which does not name it", r.RequestID, id)
				continue
			}
			if d.Reserve {
				reserves++
			}
			if len(named) != len(r.DeliveryIDs) || named[i] != (keypackage.Granted{ID: d.PackageID, Reserve: d.Reserve}) {
				a.Errorf("the row of %s names %+v, not %s", r.RequestID, named, id)
			}
		}
		if reserves > 1 || r.Reserve != (reserves == 1) {
			a.Errorf("%d reserves, last resort %v", reserves, r.Reserve)
		}
		counted := slices.ContainsFunc(plan.Pairs, func(p keypackage.Pair) bool { return p.Requester == r.Requester && p.Owner == r.Owner })
		if !counted && r.Reason != keypackage.ReasonStale {
			a.Errorf("the answer to %s does not rely on its limit", r.RequestID)
		}
	}
}

func accuseHandouts(a accuser, plan *Plan) {
	a.Helper()
	if len(plan.Consumed) > 0 && !plan.WriteOwner {
		a.Errorf("packages are consumed, but the budget is not written")
	}
	entries := make(map[string]bool)
	for _, h := range plan.Consumed {
		c := h.Candidate
		if !c.OneTime() || c.Flaw != "" || c.Tombstoned || !h.NewUse || entries[c.Hash] {
			a.Errorf("consumed: %+v", h)
		}
		entries[c.Hash] = true
		accuseEntry(a, plan, h, keypackage.UseOneTime)
	}
	for _, h := range plan.Reserves {
		if c := h.Candidate; c.Flaw != "" || c.Tombstoned || c.Use == keypackage.UseOneTime || (h.NewUse && entries[c.Hash]) {
			a.Errorf("reserve: %+v", h)
		}
		entries[h.Candidate.Hash] = true
		accuseEntry(a, plan, h, keypackage.UseReserve)
	}
	for _, d := range plan.Created {
		if !entries[d.Hash] || !d.Open() || (d.PushNo > 0) != (d.LeaseBy != "") || !d.ExpiresAt.After(d.CreatedAt) {
			a.Errorf("delivery %s is not entered in the ledger, or not open", d.ID)
		}
	}
}

// accuseEntry reports a ledger entry that does not speak of its package and of the delivery that first used it.
func accuseEntry(a accuser, plan *Plan, h Handout, use keypackage.Use) {
	a.Helper()
	e := h.Ledger
	i := slices.IndexFunc(plan.Created, func(d *keypackage.Delivery) bool { return d.ID == e.DeliveryID })
	if i < 0 || plan.Created[i].PackageID != h.Candidate.ID || plan.Created[i].Hash != e.Hash ||
		plan.Created[i].Reserve != (use == keypackage.UseReserve) {
		a.Errorf("the ledger entry of %s names the delivery %s", h.Candidate.ID, e.DeliveryID)
	}
	if e.Use != use || e.Hash != h.Candidate.Hash {
		a.Errorf("handed out as %s: %+v", use, e)
	}
}

// accuseRemaining reports a ciphersuite that is consumed from without relying on a package of other bytes that stays.
func accuseRemaining(a accuser, plan *Plan) {
	a.Helper()
	gone := make(map[string]bool)
	for _, h := range plan.Consumed {
		gone[h.Candidate.Hash] = true
	}
	stays := make(map[mls.Ciphersuite]bool)
	for _, c := range plan.Remaining {
		if gone[c.Hash] || c.Flaw != "" || c.Tombstoned || c.Use == keypackage.UseOneTime {
			a.Errorf("%s does not remain", c.ID)
		}
		stays[c.Suite] = true
	}
	for _, h := range plan.Consumed {
		if !stays[h.Candidate.Suite] {
			a.Errorf("%s is consumed, and nothing of %v is known to stay", h.Candidate.ID, h.Candidate.Suite)
		}
	}
}

func candidatesOf(handouts []Handout) []*keypackage.Candidate {
	var all []*keypackage.Candidate
	for _, h := range handouts {
		all = append(all, h.Candidate)
	}
	return all
}

// suites returns the ciphersuites of which the owner has a valid package.
func (m *memory) suites(owner string) map[mls.Ciphersuite]bool {
	has := make(map[mls.Ciphersuite]bool)
	for _, c := range m.oldestFirst(owner) {
		if c.Valid(now) {
			has[c.Suite] = true
		}
	}
	return has
}

// holds reports whether everything that the plan changes or relies on is as it was read.
func (m *memory) holds(plan *Plan) bool {
	for _, r := range plan.Claims {
		if len(m.known([]string{r.ID(), keypackage.DismissalID(r.RequestID)})) > 0 {
			return false
		}
	}
	for _, p := range plan.Pairs {
		if !m.pairs[p.Requester+"_"+p.Owner].Version.Equal(p.Version) {
			return false
		}
	}
	if (plan.WriteOwner || plan.RequireOwner) && !m.owners[plan.Owner.Pubkey].Version.Equal(plan.Owner.Version) {
		return false
	}
	for _, d := range plan.Joined {
		if m.tombstones[d.PackageID] || !m.deliveries[d.ID].Version.Equal(d.Version) {
			return false
		}
	}
	for _, d := range plan.JoinedLate {
		if m.tombstones[d.PackageID] {
			return false
		}
	}
	inPlan := make(map[string]bool)
	for _, h := range slices.Concat(plan.Consumed, plan.Reserves) {
		use, want := m.ledger[h.Candidate.Hash].Use, keypackage.UseReserve
		if h.NewUse {
			want = keypackage.UseNone
		}
		if !m.inStock(h.Candidate) || (use != want && !inPlan[h.Candidate.Hash]) {
			return false
		}
		inPlan[h.Candidate.Hash] = true
	}
	for _, c := range plan.Remaining {
		if !m.inStock(c) || (m.ledger[c.Hash].Use != c.Use && !inPlan[c.Hash]) {
			return false
		}
	}
	return m.stillUseless(plan.Removed) && !slices.ContainsFunc(plan.Flagged, func(c *keypackage.Candidate) bool {
		return !m.stock[c.ID].Version.Equal(c.Version)
	})
}

func (m *memory) inStock(c *keypackage.Candidate) bool {
	return m.stock[c.ID].Version.Equal(c.Version) && !m.tombstones[c.ID]
}

func (m *memory) stillUseless(removed []*keypackage.Candidate) bool {
	for _, c := range removed {
		current, ok := m.stock[c.ID]
		current.Use, current.Tombstoned = m.ledger[c.Hash].Use, m.tombstones[c.ID]
		if !ok || !current.Version.Equal(c.Version) || !current.Removable(now) {
			return false
		}
	}
	return true
}

// apply writes the plan.
func (m *memory) apply(plan *Plan) {
	at := m.tick()
	for _, r := range plan.Claims {
		m.claims[r.ID()] = r
	}
	for _, p := range plan.Pairs {
		p.Version = at
		m.pairs[p.Requester+"_"+p.Owner] = p
	}
	if plan.WriteOwner {
		plan.Owner.Version = at
		m.owners[plan.Owner.Pubkey] = plan.Owner
	}
	for _, d := range slices.Concat(plan.Created, plan.Joined) {
		d.Version = at
		m.deliveries[d.ID] = *d
	}
	for _, h := range slices.Concat(plan.Reserves, plan.Consumed) {
		if h.NewUse {
			m.ledger[h.Ledger.Hash] = h.Ledger
		}
	}
	for _, c := range slices.Concat(candidatesOf(plan.Consumed), plan.Removed) {
		delete(m.stock, c.ID)
	}
	for _, c := range plan.Flagged {
		current := m.stock[c.ID]
		current.Version = at
		m.stock[c.ID] = current
	}
}
