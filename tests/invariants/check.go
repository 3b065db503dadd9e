package invariants

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Violation is a broken promise.
type Violation struct {
	Invariant  string // I1 to I8
	What       string
	Unfinished bool // only time may be missing: something is under way
}

func (v Violation) String() string { return v.Invariant + ": " + v.What }

// Check returns the promises that a run has broken. Everything that is under way must have come to its end, or is among them.
func Check(run Run, end State) []Violation {
	c := check{
		Run: run, State: end, handedOut: make(map[string][]keypackage.Delivery),
		arrived: make(map[string]bool), seenBy: make(map[string]map[string]bool),
	}
	for _, d := range end.Deliveries {
		c.handedOut[c.hash(d)] = append(c.handedOut[c.hash(d)], d)
		c.seenBy[c.hash(d)] = make(map[string]bool)
	}
	c.received()
	c.pushes()
	c.exposure()
	c.requests()
	c.deliveries()
	c.ledger()
	c.stock()
	slices.SortFunc(c.violations, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(c.violations)
}

type check struct {
	Run
	State
	handedOut  map[string][]keypackage.Delivery // by hash of owner and bytes
	seenBy     map[string]map[string]bool       // whose sessions a package arrived in, by its hash
	arrived    map[string]bool                  // deliveries
	violations []Violation
}

func (c *check) broken(invariant, format string, args ...any) {
	c.violations = append(c.violations, Violation{Invariant: invariant, What: fmt.Sprintf(format, args...)})
}

func (c *check) unfinished(format string, args ...any) {
	c.violations = append(c.violations, Violation{"I3", fmt.Sprintf(format, args...), true})
}

// hash tells the package of a delivery by its bytes. What the delivery says of it is only believed where the upload is not
// known.
func (c *check) hash(d keypackage.Delivery) string {
	if upload, ok := c.Uploads[d.PackageID]; ok {
		return upload.Hash
	}
	return d.Hash
}

// received is I6 and I7, and the outer half of I8 and I5.
func (c *check) received() {
	for _, r := range c.Received {
		d, ok := c.Deliveries[r.DeliveryID]
		if !ok {
			c.broken("I3", "something arrived that no delivery knows")
			continue
		}
		c.arrived[d.ID], c.seenBy[c.hash(d)][r.Session] = true, true
		if c.Uploads[r.PackageID].Event != r.Raw || r.Raw == "" || d.PackageID != r.PackageID {
			c.broken("I6", "delivery %s brought something else than the signed event", short(d.ID))
		}
		if d.Requester != r.Session {
			c.broken("I7", "delivery %s arrived in somebody else's session", short(d.ID))
		}
		if !r.At.Before(d.ExpiresAt) {
			c.broken("I8", "delivery %s arrived after its end", short(d.ID))
		}
		if d.Reason == keypackage.ExpiredReturned {
			c.broken("I5", "delivery %s arrived, and its package was returned to stock", short(d.ID))
		}
	}
}

// pushes is I8.
func (c *check) pushes() {
	for _, p := range c.Pushes {
		if !p.At.Before(c.Deliveries[p.DeliveryID].ExpiresAt) {
			c.broken("I8", "delivery %s was pushed after its end", short(p.DeliveryID))
		}
		if p.Contested {
			c.broken("I8", "delivery %s was pushed by two at once", short(p.DeliveryID))
		}
	}
}

// exposure is I1: of all hand-outs of the same bytes as one-time, all but one were taken back unseen, no hand-out as a reserve
// came before one of them or beside one that stands, no other requester has seen them, and the ledger knows.
func (c *check) exposure() {
	for hash, deliveries := range c.handedOut {
		entry, used := c.Ledger[hash]
		standing := 0
		for _, one := range deliveries {
			if stands(one) {
				standing++
			}
			if stands(one) && entry.Use != keypackage.UseOneTime || one.Reserve && !used {
				c.broken("I1", "package %s was handed out, and the ledger does not know", short(hash))
			}
			for _, other := range deliveries {
				if !one.Reserve && other.Reserve && (stands(one) || other.CreatedAt.Before(one.CreatedAt)) {
					c.broken("I1", "package %s was handed out as one-time and as a reserve", short(hash))
				}
			}
		}
		if standing > 1 {
			c.broken("I1", "package %s was handed out as one-time by %d deliveries that stand", short(hash), standing)
		}
		if standing > 0 && len(c.seenBy[hash]) > 1 {
			c.broken("I1", "%d requesters have seen the one-time package %s", len(c.seenBy[hash]), short(hash))
		}
	}
}

// stands reports whether a package was handed out as one-time, and not taken back.
func stands(d keypackage.Delivery) bool { return !d.Reserve && d.Reason != keypackage.ExpiredReturned }

// requests is I3 and I4 for requests: one claim for each unit, or one dismissal of the whole request; and what the claims
// grant is what was delivered.
func (c *check) requests() {
	for id, owners := range c.Run.Requests {
		answer, answered := c.Answers[id], make(map[string]bool)
		for _, claim := range answer.Claims {
			answered[claim.Owner] = true
			c.claim(claim)
		}
		switch claims := len(answer.Claims); {
		case answer.Empty():
			c.unfinished("request %s has no outcome", short(id))
		case answer.Dismissal != nil && claims > 0:
			c.broken("I3", "request %s has an outcome as a whole and others", short(id))
		case answer.Dismissal != nil:
		case claims < len(owners):
			c.unfinished("request %s has %d claims for %d owners", short(id), claims, len(owners))
		case claims > len(owners) || len(answered) < len(owners):
			c.broken("I3", "request %s has %d claims for %d owners", short(id), claims, len(owners))
		}
	}
	for id, open := range c.State.Requests {
		if open {
			c.unfinished("request %s is still looked for", short(id))
		}
	}
}

func (c *check) claim(r keypackage.Claim) {
	reserves, told := 0, r.Row().Packages
	for _, id := range r.DeliveryIDs {
		d, ok := c.Deliveries[id]
		joined := slices.Contains(d.RequestIDs, r.RequestID) || d.State == keypackage.StateDelivered // after a REQ
		if !ok || !joined || d.Requester != r.Requester || d.Owner != r.Owner {
			c.broken("I3", "request %s was granted the delivery %s, which is not its own", short(r.RequestID), short(id))
		}
		if d.Reserve {
			reserves++
		}
		if !slices.Contains(told, keypackage.Granted{ID: d.PackageID, Reserve: d.Reserve}) {
			c.broken("I3", "the requester of %s was not told of the package %s as it was granted", short(r.RequestID), short(d.PackageID))
		}
	}
	if len(told) != len(r.DeliveryIDs) {
		c.broken("I3", "the requester of %s was told of %d packages, not %d", short(r.RequestID), len(told), len(r.DeliveryIDs))
	}
	if r.Granted != len(r.DeliveryIDs) || r.Granted > r.Requested || reserves > 1 {
		c.broken("I4", "request %s asked for %d, was granted %d by %d deliveries, %d of them reserves",
			short(r.RequestID), r.Requested, r.Granted, len(r.DeliveryIDs), reserves)
	}
}

// deliveries is I3 for deliveries: each has ended, each is somebody's, and what counts as delivered has arrived. If the session
// ended meanwhile, it was written by the relay and never read.
func (c *check) deliveries() {
	granted := make(map[string]bool)
	for request, answer := range c.Answers {
		for _, ref := range answer.Deliveries() {
			granted[keypackage.ClaimID(request, ref.ID)] = true
		}
	}
	for id, d := range c.Deliveries {
		delivered := d.State == keypackage.StateDelivered
		if !delivered && d.State != keypackage.StateExpired {
			c.unfinished("delivery %s is still %s", short(id), d.State)
		}
		if delivered && !c.arrived[id] && !c.leftDuring(d) {
			c.broken("I3", "delivery %s counts as delivered, and never arrived in a session that was open", id)
		}
		for _, request := range d.RequestIDs {
			if !granted[keypackage.ClaimID(request, id)] {
				c.broken("I3", "delivery %s belongs to no answer", short(id))
			}
		}
	}
}

// leftDuring reports whether a session of the requester ended between the claim and the record of the push, or about then.
func (c *check) leftDuring(d keypackage.Delivery) bool {
	const around = time.Second
	return slices.ContainsFunc(slices.Concat(c.Left[d.Requester], c.Left[""]), func(end time.Time) bool {
		return end.After(d.CreatedAt.Add(-around)) && end.Before(d.DeliveredAt.Add(around))
	})
}

// ledger is I3 for the ledger: it knows nothing but what was handed out.
func (c *check) ledger() {
	for hash, entry := range c.Ledger {
		d, ok := c.Deliveries[entry.DeliveryID]
		if !ok || entry.Use == keypackage.UseOneTime && d.Reason == keypackage.ExpiredReturned {
			c.broken("I3", "package %s counts as used by a delivery that is not there or gave it back", short(hash))
		}
	}
}

// stock is what the end shows of I2 and I3: nothing that the relay has stored is gone unless somebody had it, and who had a
// package once, deleted none and has none that ended, has one now.
func (c *check) stock() {
	type ownerSuite struct {
		owner string
		suite mls.Ciphersuite
	}
	has, excused := make(map[ownerSuite]bool), make(map[ownerSuite]bool)
	for id, u := range c.Uploads {
		key := ownerSuite{u.Owner, u.Suite}
		entry, used := c.Ledger[u.Hash]
		over := c.Deleted[id] || u.Expired(c.At)
		has[key] = has[key] || c.Stored[id] && c.Stock[id] && !over && entry.Use != keypackage.UseOneTime
		excused[key] = excused[key] || over || !c.Stored[id]
		if c.Stored[id] && !over && !used && !c.Stock[id] {
			c.broken("I3", "KeyPackage %s is gone, and nobody had it", id)
		}
	}
	for key := range has {
		if !has[key] && !excused[key] {
			c.broken("I2", "owner %s has no KeyPackage of suite %d any more", key.owner, key.suite)
		}
	}
}

// short makes an id readable.
func short(id string) string { return id[:min(len(id), 8)] }
