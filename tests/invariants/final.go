package invariants

import (
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Check returns the promises that a run has broken. Everything that is under way must have come to its end.
func Check(run Run, end State) []Violation {
	var v violations
	c := final{run: run, State: end, violations: &v, handedOut: make(map[string][]keypackage.Delivery)}
	for _, d := range end.Deliveries {
		c.handedOut[c.hash(d)] = append(c.handedOut[c.hash(d)], d)
	}
	c.checkExposure()
	c.checkOutcomes()
	c.checkDeliveries()
	c.checkReceived()
	slices.SortFunc(v, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(v)
}

type final struct {
	State
	*violations
	run       Run
	handedOut map[string][]keypackage.Delivery // by hash of owner and bytes
}

// hash tells the package of a delivery by its bytes. What the delivery says of it is only believed where the upload is not
// known.
func (c *final) hash(d keypackage.Delivery) string {
	if upload, ok := c.run.Uploads[d.PackageID]; ok {
		return upload.Hash
	}
	return d.Hash
}

// checkExposure is I1: of all hand-outs of the same bytes as one-time, all but one were taken back unseen, no hand-out as
// a reserve came before one of them or beside one that stands, and no other requester has seen them.
func (c *final) checkExposure() {
	for hash, deliveries := range c.handedOut {
		var standing []keypackage.Delivery
		for _, d := range deliveries {
			if !d.Reserve && d.Reason != keypackage.ExpiredReturned {
				standing = append(standing, d)
			}
		}
		if len(standing) > 1 {
			c.add("I1", "package %s was handed out as one-time by %d deliveries that stand", short(hash), len(standing))
		}
		for _, one := range deliveries {
			for _, other := range deliveries {
				if one.Reserve || !other.Reserve {
					continue
				}
				if other.CreatedAt.Before(one.CreatedAt) || one.Reason != keypackage.ExpiredReturned {
					c.add("I1", "package %s was handed out as one-time and as a reserve", short(hash))
				}
			}
		}
	}
	seen := make(map[string]map[string]bool)
	for _, r := range c.run.Received {
		d := c.Deliveries[r.DeliveryID]
		if seen[c.hash(d)] == nil {
			seen[c.hash(d)] = make(map[string]bool)
		}
		seen[c.hash(d)][r.Session] = true
	}
	for hash, requesters := range seen {
		oneTime := slices.ContainsFunc(c.handedOut[hash], func(d keypackage.Delivery) bool {
			return !d.Reserve && d.Reason != keypackage.ExpiredReturned
		})
		if oneTime && len(requesters) > 1 {
			c.add("I1", "%d requesters have seen the one-time package %s", len(requesters), short(hash))
		}
	}
}

// checkOutcomes is I3 and I4 for requests: one claim for each unit, or one dismissal of the whole request; and what the claims
// grant is what was delivered.
func (c *final) checkOutcomes() {
	for _, request := range c.run.Requests {
		c.checkAnswer(request, c.Answers[request.ID])
	}
	for id, open := range c.Requests {
		if open {
			c.add("I3", "request %s is still looked for", short(id))
		}
	}
}

func (c *final) checkAnswer(request Request, answer keypackage.Answer) {
	owners := make(map[string]bool)
	for _, claim := range answer.Claims {
		owners[claim.Owner] = true
		c.checkClaim(claim)
	}
	switch {
	case answer.Empty():
		c.add("I3", "request %s has no outcome", short(request.ID))
	case answer.Dismissal != nil && len(answer.Claims) > 0:
		c.add("I3", "request %s has an outcome as a whole and others", short(request.ID))
	case answer.Dismissal != nil:
	case len(owners) != len(request.Owners) || len(answer.Claims) != len(owners):
		c.add("I3", "request %s has %d claims for %d owners", short(request.ID), len(answer.Claims), len(request.Owners))
	}
}

func (c *final) checkClaim(r keypackage.Claim) {
	reserves, told := 0, r.Row().Packages
	for _, id := range r.DeliveryIDs {
		d, ok := c.Deliveries[id]
		joined := slices.Contains(d.RequestIDs, r.RequestID) || d.State == keypackage.StateDelivered // after a REQ
		if !ok || !joined || d.Requester != r.Requester || d.Owner != r.Owner {
			c.add("I3", "request %s was granted the delivery %s, which is not its own", short(r.RequestID), short(id))
		}
		if d.Reserve {
			reserves++
		}
		if !slices.Contains(told, keypackage.Granted{ID: d.PackageID, Reserve: d.Reserve}) {
			c.add("I3", "the requester of %s was not told of the package %s as it was granted", short(r.RequestID), short(d.PackageID))
		}
	}
	if len(told) != len(r.DeliveryIDs) {
		c.add("I3", "the requester of %s was told of %d packages, not %d", short(r.RequestID), len(told), len(r.DeliveryIDs))
	}
	if r.Granted != len(r.DeliveryIDs) || r.Granted > r.Requested || reserves > 1 {
		c.add("I4", "request %s asked for %d, was granted %d by %d deliveries, %d of them reserves",
			short(r.RequestID), r.Requested, r.Granted, len(r.DeliveryIDs), reserves)
	}
}

// checkDeliveries is I3 for deliveries and stock: each has ended, each is somebody's, and no package vanishes.
func (c *final) checkDeliveries() {
	granted := make(map[string]bool)
	for request, answer := range c.Answers {
		for _, ref := range answer.Deliveries() {
			granted[keypackage.ClaimID(request, ref.ID)] = true
		}
	}
	for id, d := range c.Deliveries {
		if d.State != keypackage.StateDelivered && d.State != keypackage.StateExpired {
			c.add("I3", "delivery %s is still %s", short(id), d.State)
		}
		for _, request := range d.RequestIDs {
			if !granted[keypackage.ClaimID(request, id)] {
				c.add("I3", "delivery %s belongs to no answer", short(id))
			}
		}
	}
	for hash, entry := range c.Ledger {
		d, ok := c.Deliveries[entry.DeliveryID]
		if !ok || (entry.Use == keypackage.UseOneTime && d.Reason == keypackage.ExpiredReturned) {
			c.add("I3", "package %s counts as used by a delivery that is not there or gave it back", short(hash))
		}
	}
	for hash, deliveries := range c.handedOut {
		entry, used := c.Ledger[hash]
		for _, d := range deliveries {
			oneTime := !d.Reserve && d.Reason != keypackage.ExpiredReturned
			if oneTime && (!used || entry.Use != keypackage.UseOneTime) || d.Reserve && !used {
				c.add("I1", "package %s was handed out, and the ledger does not know", short(hash))
			}
		}
	}
}

// checkReceived is I6 and I7, and the outer half of I8 and I5.
func (c *final) checkReceived() {
	for _, r := range c.run.Received {
		d, ok := c.Deliveries[r.DeliveryID]
		if !ok {
			c.add("I3", "something arrived that no delivery knows")
			continue
		}
		if c.run.Uploads[r.PackageID].Raw != r.Raw || r.Raw == "" || d.PackageID != r.PackageID {
			c.add("I6", "delivery %s brought something else than the signed event", short(d.ID))
		}
		if d.Requester != r.Session {
			c.add("I7", "delivery %s arrived in somebody else's session", short(d.ID))
		}
		if !r.At.Before(d.ExpiresAt) {
			c.add("I8", "delivery %s arrived after its end", short(d.ID))
		}
		if d.Reason == keypackage.ExpiredReturned {
			c.add("I5", "delivery %s arrived, and its package was returned to stock", short(d.ID))
		}
	}
	for _, p := range c.run.Pushes {
		if d := c.Deliveries[p.DeliveryID]; !p.At.Before(d.ExpiresAt) {
			c.add("I8", "delivery %s was pushed after its end", short(d.ID))
		}
		if p.Contested {
			c.add("I8", "delivery %s was pushed by two at once", short(p.DeliveryID))
		}
	}
}
