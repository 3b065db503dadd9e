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
	Unfinished bool // something is under way: it may yet come right
}

func (v Violation) String() string { return v.Invariant + ": " + v.What }

// Check returns the promises that a run has broken, sorted. What is still under way is among them.
func Check(run Run, end State) []Violation {
	c := check{
		Run: run, State: end, handedOut: make(map[string][]keypackage.Delivery),
		arrived: make(map[string]bool), seenBy: make(map[string]map[string]bool),
	}
	for _, d := range end.Deliveries {
		c.handedOut[c.hash(d)] = append(c.handedOut[c.hash(d)], d)
		c.seenBy[c.hash(d)] = make(map[string]bool)
	}
	c.checkReceived()
	c.checkPushes()
	c.checkExposure()
	c.checkRequests()
	c.checkDeliveries()
	c.checkStock()
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

// unless notes a violation unless the promise is kept.
func (c *check) unless(kept bool, invariant, format string, args ...any) {
	if !kept {
		c.violations = append(c.violations, Violation{Invariant: invariant, What: fmt.Sprintf(format, args...)})
	}
}

// unlessEnded notes what has not come to its end.
func (c *check) unlessEnded(ended bool, format string, args ...any) {
	if !ended {
		c.violations = append(c.violations, Violation{"I3", fmt.Sprintf(format, args...), true})
	}
}

// hash tells the package of a delivery by its bytes. What the delivery says of it is only believed where the upload is not
// known.
func (c *check) hash(d keypackage.Delivery) string {
	if upload, ok := c.Uploads[d.PackageID]; ok {
		return upload.Hash
	}
	return d.Hash
}

// checkReceived is I6 and I7, and the outer half of I8 and I5.
func (c *check) checkReceived() {
	for _, r := range c.Received {
		d, ok := c.Deliveries[r.DeliveryID]
		if !ok {
			c.unless(ok, "I3", "something arrived that no delivery knows")
			continue
		}
		id := short(d.ID)
		c.arrived[d.ID], c.seenBy[c.hash(d)][r.Session] = true, true
		same := r.Raw != "" && r.Raw == c.Uploads[r.PackageID].Event && r.PackageID == d.PackageID
		c.unless(same, "I6", "delivery %s brought something else than the signed event", id)
		c.unless(d.Requester == r.Session, "I7", "delivery %s arrived in somebody else's session", id)
		c.unless(r.At.Before(d.ExpiresAt), "I8", "delivery %s arrived after its end", id)
		c.unless(d.Reason != keypackage.ExpiredReturned, "I5", "delivery %s arrived, and its package was returned to stock", id)
	}
}

// checkPushes is I8.
func (c *check) checkPushes() {
	for _, p := range c.Pushes {
		id := short(p.DeliveryID)
		c.unless(p.At.Before(c.Deliveries[p.DeliveryID].ExpiresAt), "I8", "delivery %s was pushed after its end", id)
		c.unless(!p.Contested, "I8", "delivery %s was pushed by two at once", id)
	}
}

// checkExposure is I1: of all hand-outs of the same bytes as one-time, all but one were taken back unseen, no hand-out as
// a reserve came before one of them or beside one that stands, and no other requester has seen them. The ledger knows.
func (c *check) checkExposure() {
	stands := func(d keypackage.Delivery) bool { return !d.Reserve && d.Reason != keypackage.ExpiredReturned }
	for hash, deliveries := range c.handedOut {
		entry, used := c.Ledger[hash]
		id, standing, requesters := short(hash), 0, len(c.seenBy[hash])
		for _, one := range deliveries {
			if stands(one) {
				standing++
			}
			forgotten := stands(one) && entry.Use != keypackage.UseOneTime || one.Reserve && !used
			c.unless(!forgotten, "I1", "package %s was handed out, and the ledger does not know", id)
			for _, other := range deliveries {
				both := !one.Reserve && other.Reserve && (stands(one) || other.CreatedAt.Before(one.CreatedAt))
				c.unless(!both, "I1", "package %s was handed out as one-time and as a reserve", id)
			}
		}
		c.unless(standing < 2, "I1", "package %s was handed out as one-time by %d deliveries that stand", id, standing)
		c.unless(standing == 0 || requesters < 2, "I1", "%d requesters have seen the one-time package %s", requesters, id)
	}
}

// checkRequests is I3 and I4 for requests: one claim for each unit, or one dismissal of the whole request; and what the claims
// grant is what was delivered.
func (c *check) checkRequests() {
	for id, owners := range c.Run.Requests {
		if _, stored := c.State.Requests[id]; !stored && !c.Stored[id] {
			continue // it never reached the relay
		}
		answer, answered := c.Answers[id], make(map[string]bool)
		for _, claim := range answer.Claims {
			answered[claim.Owner] = true
			c.checkClaim(claim)
		}
		claims := len(answer.Claims)
		c.unlessEnded(!answer.Empty(), "request %s has no outcome", short(id))
		if answer.Dismissal != nil {
			c.unless(claims == 0, "I3", "request %s has an outcome as a whole and others", short(id))
			continue
		}
		c.unlessEnded(claims == 0 || claims >= len(owners), "request %s has %d claims for %d owners so far", short(id), claims, len(owners))
		c.unless(claims == len(answered) && claims <= len(owners), "I3", "request %s has %d claims for %d owners", short(id), claims, len(owners))
	}
	for id, marked := range c.State.Requests {
		c.unlessEnded(!marked, "request %s is still looked for", short(id))
	}
}

func (c *check) checkClaim(r keypackage.Claim) {
	reserves, told, request := 0, r.Row().Packages, short(r.RequestID)
	for _, id := range r.DeliveryIDs {
		d, ok := c.Deliveries[id]
		joined := slices.Contains(d.RequestIDs, r.RequestID) || d.State == keypackage.StateDelivered // after a REQ
		own := ok && joined && d.Requester == r.Requester && d.Owner == r.Owner
		c.unless(own, "I3", "request %s was granted the delivery %s, which is not its own", request, short(id))
		if d.Reserve {
			reserves++
		}
		named := slices.Contains(told, keypackage.Granted{ID: d.PackageID, Reserve: d.Reserve})
		c.unless(named, "I3", "the requester of %s was not told of the package %s as it was granted", request, short(d.PackageID))
	}
	granted := len(r.DeliveryIDs)
	c.unless(len(told) == granted, "I3", "the requester of %s was told of %d packages, not %d", request, len(told), granted)
	c.unless(r.Granted == granted && granted <= r.Requested && reserves < 2,
		"I4", "request %s asked for %d, was granted %d by %d deliveries, %d of them reserves", request, r.Requested, r.Granted, granted, reserves)
}

// checkDeliveries is I3 for deliveries: each has ended, each is somebody's, and what counts as delivered has arrived. If the
// session ended meanwhile, it was written by the relay and never read.
func (c *check) checkDeliveries() {
	granted := make(map[string]bool)
	for request, answer := range c.Answers {
		for _, ref := range answer.Deliveries() {
			granted[keypackage.ClaimID(request, ref.ID)] = true
		}
	}
	for id, d := range c.Deliveries {
		delivered := d.State == keypackage.StateDelivered
		c.unlessEnded(delivered || d.State == keypackage.StateExpired, "delivery %s is still %s", short(id), d.State)
		c.unless(!delivered || c.arrived[id] || c.leftDuring(d),
			"I3", "delivery %s counts as delivered, and never arrived in a session that was open", short(id))
		for _, request := range d.RequestIDs {
			c.unless(granted[keypackage.ClaimID(request, id)], "I3", "delivery %s belongs to no answer", short(id))
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

// checkStock is what the end shows of I2 and I3: nothing that the relay has stored is gone or used unless somebody had it, and
// who had a package once, deleted none and has none that ended, has one now.
func (c *check) checkStock() {
	for hash, entry := range c.Ledger {
		d, ok := c.Deliveries[entry.DeliveryID]
		had := ok && (entry.Use != keypackage.UseOneTime || d.Reason != keypackage.ExpiredReturned)
		c.unless(had, "I3", "package %s counts as used by a delivery that is not there or gave it back", short(hash))
	}
	type ownerSuite struct {
		owner string
		suite mls.Ciphersuite
	}
	has, excused := make(map[ownerSuite]bool), make(map[ownerSuite]bool)
	for id, u := range c.Uploads {
		key := ownerSuite{u.Owner, u.Suite}
		entry, used := c.Ledger[u.Hash]
		over := c.Deleted[id] || u.Expired(c.At)
		has[key] = has[key] || c.Stock[id] && !over && entry.Use != keypackage.UseOneTime
		excused[key] = excused[key] || over || !c.Stored[id]
		c.unless(!c.Stored[id] || over || used || c.Stock[id], "I3", "KeyPackage %s is gone, and nobody had it", short(id))
	}
	for key := range has {
		c.unless(has[key] || excused[key], "I2", "owner %s has no KeyPackage of suite %d any more", short(key.owner), key.suite)
	}
}

// short makes an id readable.
func short(id string) string { return id[:min(len(id), 8)] }
