// Package invariants checks the promises of KeyPackage delivery on what a run has left behind: the documents in Firestore, and what
// the requesters' sessions received. What only the order of the commits shows, package simulation checks under the same names.
//
//	I1  a package handed out as one-time is exposed to one requester only; a reserve is never handed out as one-time
//	I2  no claim, return, retirement or removal takes an owner's last valid package of a ciphersuite
//	I3  every request ends with exactly one outcome, every delivery delivered or expired, and nothing vanishes
//	I4  whatever is repeated, a unit is answered once, and acknowledged only when its answer is recorded
//	I5  a one-time package returns to stock if, and only if, every push of it was recorded as a definite negative, none was
//	    answered that the relay will never deliver it, and it is still valid and not deleted
//	I6  what arrives is the signed event, byte for byte
//	I7  only the requester's sessions see a push
//	I8  nothing is pushed after its end, and nothing by two at once
package invariants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Run is what is known of a run from outside the database. A part with its zero value was not recorded, and is not checked.
type Run struct {
	Uploads  map[string]keypackage.Package // by event id, as a claim reads them: everything that owners published
	Requests map[string][]string           // by id, the owners asked: valid requests, which must end if the relay has them
	Received []Received
	Pushes   []Push

	Stored  map[string]bool        // events that the relay says it has; it may have others, and then they have a document
	Deleted map[string]bool        // events that their owners want gone
	Left    map[string][]time.Time // when sessions ended, by the key as which they were authenticated; "" are all
}

// Received is an event that arrived in a session.
type Received struct {
	DeliveryID string
	Session    string // the key as which the session is authenticated
	Raw        string
	At         time.Time
}

// Push is a call of the relay's endpoint, for one delivery.
type Push struct {
	DeliveryID string
	At         time.Time
	Contested  bool // another push of the same delivery was, or may have been, under way
}

// State is what Firestore holds. Stock is keyed by event id, Ledger by the hash of owner and bytes.
type State struct {
	Answers    map[string]keypackage.Answer // by request
	Requests   map[string]bool              // that are stored: whether the document says that there is no outcome yet
	Deliveries map[string]keypackage.Delivery
	Ledger     map[string]keypackage.Ledger
	Stock      map[string]bool
	At         time.Time // when it was read
}

// Load reads the whole state. Claims come first and stock last: of what has ended by then, nothing is read too early.
func Load(ctx context.Context, client *firestore.Client, names config.Collections) (s State, err error) {
	s.Requests, s.Deliveries = make(map[string]bool), make(map[string]keypackage.Delivery)
	s.Ledger, s.Stock = make(map[string]keypackage.Ledger), make(map[string]bool)
	documents := func(collection string) []*firestore.DocumentSnapshot {
		snaps, failed := client.Collection(collection).Documents(ctx).GetAll()
		err = errors.Join(err, failed)
		return snaps
	}
	answers, failed := store.DecodeAnswers(documents(names.Claims))
	delete(answers, "") // the switch of the mode
	s.Answers, err = answers, errors.Join(err, failed)
	for _, snap := range documents(names.Requests) {
		_, s.Requests[snap.Ref.ID] = snap.Data()[keypackage.FieldOpen]
	}
	for _, snap := range documents(names.Deliveries) {
		d := keypackage.Delivery{ID: snap.Ref.ID}
		err = errors.Join(err, snap.DataTo(&d))
		s.Deliveries[d.ID] = d
	}
	for _, snap := range documents(names.Ledger) {
		entry := keypackage.Ledger{Hash: snap.Ref.ID}
		err = errors.Join(err, snap.DataTo(&entry))
		s.Ledger[entry.Hash] = entry
	}
	for _, snap := range documents(names.KeyPackages) {
		s.Stock[snap.Ref.ID] = true
	}
	s.At = time.Now()
	if err != nil {
		err = fmt.Errorf("read what Firestore holds: %w", err)
	}
	return s, err
}

// UnderWay begins what Check says of I3 if it may yet come right: something has not ended.
const UnderWay = "I3, under way"

// Check returns the promises that a run has broken, sorted, each with its name before it.
func Check(run Run, end State) []string {
	c := check{Run: run, State: end, handedOut: make(map[string][]keypackage.Delivery), arrived: make(map[string][]Received)}
	for _, d := range end.Deliveries {
		hash := d.Hash
		if upload, ok := run.Uploads[d.PackageID]; ok { // otherwise what the delivery says has to be believed
			hash = upload.Hash
		}
		c.handedOut[hash] = append(c.handedOut[hash], d)
	}
	for _, r := range run.Received {
		c.arrived[r.DeliveryID] = append(c.arrived[r.DeliveryID], r)
	}
	c.checkExposure()
	c.checkRequests()
	c.checkDeliveries()
	c.checkPushes()
	c.checkStock()
	slices.Sort(c.broken)
	return slices.Compact(c.broken)
}

type check struct {
	Run
	State
	handedOut map[string][]keypackage.Delivery // by hash of owner and bytes
	arrived   map[string][]Received            // by delivery
	broken    []string
}

func (c *check) unless(kept bool, invariant, format string, args ...any) {
	if !kept {
		c.broken = append(c.broken, invariant+": "+fmt.Sprintf(format, args...))
	}
}

// checkExposure is I1: of all hand-outs of the same bytes as one-time, all but one were taken back unseen, no hand-out as
// a reserve came before one of them or beside one that stands, and no other requester has seen them. The ledger knows.
func (c *check) checkExposure() {
	stands := func(d keypackage.Delivery) bool { return !d.Reserve && d.Reason != keypackage.ExpiredReturned }
	for hash, deliveries := range c.handedOut {
		entry, used := c.Ledger[hash]
		id, standing, seenBy := short(hash), 0, make(map[string]bool)
		for _, one := range deliveries {
			if stands(one) {
				standing++
			}
			for _, r := range c.arrived[one.ID] {
				seenBy[r.Session] = true
			}
			forgotten := stands(one) && entry.Use != keypackage.UseOneTime || one.Reserve && !used
			c.unless(!forgotten, "I1", "package %s was handed out, and the ledger does not know", id)
			for _, other := range deliveries {
				both := !one.Reserve && other.Reserve && (stands(one) || other.CreatedAt.Before(one.CreatedAt))
				c.unless(!both, "I1", "package %s was handed out as one-time and as a reserve", id)
			}
		}
		c.unless(standing < 2, "I1", "package %s was handed out as one-time by %d deliveries that stand", id, standing)
		c.unless(standing == 0 || len(seenBy) < 2, "I1", "%d requesters have seen the one-time package %s", len(seenBy), id)
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
		claims, wanted := len(answer.Claims), len(owners)
		c.unless(!answer.Empty(), UnderWay, "request %s has no outcome", short(id))
		if answer.Dismissal != nil {
			c.unless(claims == 0, "I3", "request %s has an outcome as a whole and others", short(id))
			continue
		}
		c.unless(claims == 0 || claims >= wanted, UnderWay, "request %s has %d claims for %d owners", short(id), claims, wanted)
		c.unless(claims == len(answered) && claims <= wanted, "I3", "request %s has %d claims for %d owners", short(id), claims, wanted)
	}
	for id, marked := range c.State.Requests {
		c.unless(!marked, UnderWay, "request %s is still looked for", short(id))
	}
}

func (c *check) checkClaim(r keypackage.Claim) {
	request, told, granted, reserves := short(r.RequestID), r.Row().Packages, len(r.DeliveryIDs), 0
	for _, id := range r.DeliveryIDs {
		d, ok := c.Deliveries[id]
		joined := slices.Contains(d.RequestIDs, r.RequestID) || d.State == keypackage.StateDelivered // after a REQ
		own := ok && joined && d.Requester == r.Requester && d.Owner == r.Owner
		c.unless(own, "I3", "request %s was granted the delivery %s, which is not its own", request, short(id))
		named := slices.Contains(told, keypackage.Granted{ID: d.PackageID, Reserve: d.Reserve})
		c.unless(named, "I3", "the requester of %s was not told of the package %s as it was granted", request, short(d.PackageID))
		if d.Reserve {
			reserves++
		}
	}
	c.unless(len(told) == granted, "I3", "the requester of %s was told of %d packages, not %d", request, len(told), granted)
	c.unless(r.Granted == granted && granted <= r.Requested && reserves < 2,
		"I4", "request %s asked for %d, was granted %d by %d deliveries, %d of them reserves", request, r.Requested, r.Granted, granted, reserves)
}

// checkDeliveries is I3 for deliveries: each has ended, each is somebody's, and what counts as delivered has arrived, unless the
// session ended meanwhile and never read it. Of what has arrived it is I5 to I8.
func (c *check) checkDeliveries() {
	granted := make(map[string]bool)
	for request, answer := range c.Answers {
		for _, ref := range answer.Deliveries() {
			granted[keypackage.ClaimID(request, ref.ID)] = true
		}
	}
	for key, d := range c.Deliveries {
		id, arrived, delivered := short(key), c.arrived[key], d.State == keypackage.StateDelivered
		c.unless(delivered || d.State == keypackage.StateExpired, UnderWay, "delivery %s is still %s", id, d.State)
		read := len(arrived) > 0 || c.leftDuring(d)
		c.unless(!delivered || read, UnderWay, "delivery %s counts as delivered, and has not arrived in a session that was open", id)
		for _, request := range d.RequestIDs {
			c.unless(granted[keypackage.ClaimID(request, key)], "I3", "delivery %s belongs to no answer", id)
		}
		for _, r := range arrived {
			same := r.Raw != "" && r.Raw == c.Uploads[d.PackageID].Event
			c.unless(d.Reason != keypackage.ExpiredReturned, "I5", "delivery %s arrived, and its package was returned to stock", id)
			c.unless(same, "I6", "delivery %s brought something else than the signed event", id)
			c.unless(d.Requester == r.Session, "I7", "delivery %s arrived in somebody else's session", id)
			c.unless(r.At.Before(d.ExpiresAt), "I8", "delivery %s arrived after its end", id)
		}
	}
	for id := range c.arrived {
		_, known := c.Deliveries[id]
		c.unless(known, "I3", "something arrived that no delivery knows")
	}
}

// leftDuring reports whether a session of the requester ended between the claim and the record of the push, or about then.
func (c *check) leftDuring(d keypackage.Delivery) bool {
	const around = time.Second
	return slices.ContainsFunc(slices.Concat(c.Left[d.Requester], c.Left[""]), func(end time.Time) bool {
		return end.After(d.CreatedAt.Add(-around)) && end.Before(d.DeliveredAt.Add(around))
	})
}

// checkPushes is I8.
func (c *check) checkPushes() {
	for _, p := range c.Pushes {
		d, id := c.Deliveries[p.DeliveryID], short(p.DeliveryID)
		c.unless(p.At.Before(d.ExpiresAt), "I8", "delivery %s was pushed after its end", id)
		c.unless(!p.Contested, "I8", "delivery %s was pushed by two at once", id)
	}
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
	has := make(map[ownerSuite]bool) // or an excuse
	for id, u := range c.Uploads {
		key := ownerSuite{u.Owner, u.Suite}
		entry, used := c.Ledger[u.Hash]
		excused := !c.Stored[id] || c.Deleted[id] || u.Expired(c.At)
		has[key] = has[key] || excused || c.Stock[id] && entry.Use != keypackage.UseOneTime
		c.unless(excused || used || c.Stock[id], "I3", "KeyPackage %s is gone, and nobody had it", short(id))
	}
	for key, has := range has {
		c.unless(has, "I2", "owner %s has no KeyPackage of suite %d any more", short(key.owner), key.suite)
	}
}

// short makes an id readable.
func short(id string) string { return id[:min(len(id), 8)] }
