package simulation

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// wholeRun is what is known of a run, its commits included.
type wholeRun struct {
	invariants.Run
	acks    []ack
	commits []commit
}

// ack is the acknowledgement of a request's event. The first so many commits were known by then.
type ack struct {
	requestID string
	commits   int
}

// commit is one transaction that took effect.
type commit struct {
	time   time.Time // Firestore's
	since  time.Time // when the invocation began that made it, by the simulation's clock
	at     time.Time // when it was made
	system bool      // made by a function, not by the relay
	writes []write
}

// write is one document's change.
type write struct {
	collection, id string
	deletes        bool
	fields         map[string]any
	mask           []string // the fields that change; nil: all of them
}

// replay goes through the commits in the order in which Firestore made them, and returns what was broken that the end does
// not show: I2, I5, the acknowledgements of I4, and that nothing vanishes (I3).
func replay(run wholeRun, end invariants.State) []string {
	r := replayed{run: run, documents: make(map[string]map[string]any), pushes: make(map[string]*pushes)}
	for _, a := range run.acks {
		if !slices.ContainsFunc(run.commits[:a.commits], func(c commit) bool { return c.answers(a.requestID) }) {
			r.add("I4", "request %s was acknowledged before its answer was recorded", a.requestID)
		}
	}
	commits := slices.Clone(run.commits)
	slices.SortStableFunc(commits, func(a, b commit) int { return a.time.Compare(b.time) })
	for _, c := range commits {
		r.step(c)
	}
	r.checkEnd(end)
	return r.violations
}

type replayed struct {
	violations []string
	run        wholeRun
	documents  map[string]map[string]any // by collection and id
	pushes     map[string]*pushes        // by delivery id
}

func (r *replayed) add(invariant, format string, args ...any) {
	r.violations = append(r.violations, invariant+": "+fmt.Sprintf(format, args...))
}

// answers reports whether the commit holds a claim of the request.
func (c commit) answers(requestID string) bool {
	return slices.ContainsFunc(c.writes, func(w write) bool {
		return w.collection == collections.Claims && w.fields["request_event_id"] == requestID
	})
}

// step applies one commit. What it may not do is judged for the whole time in which the function that made it ran, and
// in its favour: packages may expire meanwhile.
func (r *replayed) step(c commit) {
	before := r.stock(c.at)
	for _, w := range c.writes {
		if c.system && w.collection == collections.Deliveries {
			r.followPush(w, c)
		}
	}
	for _, w := range c.writes {
		r.apply(w)
	}
	if !c.system {
		return
	}
	after := r.stock(c.since)
	for suite := range before {
		if len(after[suite]) == 0 {
			r.add("I2", "owner %s lost the last valid package of suite %d", suite.owner, suite.suite)
		}
	}
	for _, w := range c.writes {
		if w.collection == collections.Deliveries && w.fields["reason"] == keypackage.ExpiredReturned {
			r.checkReturned(w.id)
		}
	}
}

func (r *replayed) apply(w write) {
	key := w.collection + "/" + w.id
	switch {
	case w.deletes:
		delete(r.documents, key)
	case w.mask == nil:
		r.documents[key] = w.fields
	default:
		changed := maps.Clone(r.documents[key])
		for _, field := range w.mask {
			changed[field] = w.fields[field]
		}
		r.documents[key] = changed
	}
}

// ownerSuite is what I2 is about.
type ownerSuite struct {
	owner string
	suite mls.Ciphersuite
}

// stock returns the valid packages at that time, by hash.
func (r *replayed) stock(at time.Time) map[ownerSuite]map[string]bool {
	stock := make(map[ownerSuite]map[string]bool)
	for id, upload := range r.run.Uploads {
		if r.why(id, upload, at) != "" {
			continue
		}
		key := ownerSuite{upload.Owner, upload.Suite}
		if stock[key] == nil {
			stock[key] = make(map[string]bool)
		}
		stock[key][upload.Hash] = true
	}
	return stock
}

// why returns the reason why a package is not in stock or not valid.
func (r *replayed) why(id string, upload keypackage.Package, at time.Time) string {
	ledger := r.documents[collections.Ledger+"/"+upload.Hash]
	switch {
	case r.documents[collections.Tombstones+"/"+keypackage.TombstoneID(id, upload.Owner)] != nil:
		return "deleted"
	case upload.Expired(at):
		return "expired"
	case ledger != nil && ledger["use"] == string(keypackage.UseOneTime):
		return "used"
	case r.documents[collections.KeyPackages+"/"+id] == nil:
		return "not in stock"
	}
	return ""
}

// pushes is what the commits say of a delivery's pushes.
type pushes struct {
	unresolved bool // one ended without a definite answer
	parked     bool
	state      string
}

// followPush is I5: it tells from the commits alone whether the package may return.
func (r *replayed) followPush(w write, c commit) {
	p := r.pushes[w.id]
	if p == nil {
		p = &pushes{state: string(keypackage.StatePending)}
		r.pushes[w.id] = p
	}
	state, ok := w.fields["state"].(string)
	if !ok {
		return // a request joined
	}
	switch {
	case terminal(p.state) && state != p.state:
		r.add("I3", "delivery %s was %s and became %s", w.id, p.state, state)
	case terminal(p.state): // only the last result may change
	case p.state == string(keypackage.StateSending) && state == string(keypackage.StatePending):
		p.answered(w.fields["last_result"])
	case p.state == string(keypackage.StateSending) && state != string(keypackage.StateDelivered):
		p.unresolved = true
	}
	if state == string(keypackage.StateExpired) && p.state != state {
		r.checkExpired(w, p, c)
	}
	p.state = state
}

func terminal(state string) bool {
	return state == string(keypackage.StateDelivered) || state == string(keypackage.StateExpired)
}

func (p *pushes) answered(result any) {
	word, _ := result.(string)
	switch keypackage.PushResult(word) {
	case keypackage.ResultNoSession, keypackage.ResultNoSubscription, keypackage.ResultNotSent,
		keypackage.ResultRefused, keypackage.ResultMisplaced, keypackage.ResultTooLarge:
	case keypackage.ResultUnknownEvent, keypackage.ResultRejected:
		p.parked = true
	default:
		p.unresolved = true
	}
}

func (r *replayed) checkExpired(w write, p *pushes, c commit) {
	d := r.documents[collections.Deliveries+"/"+w.id]
	if d == nil {
		return
	}
	ends, _ := d["expires_at"].(time.Time)
	if c.at.Before(ends.Add(keypackage.Fence)) {
		r.add("I8", "delivery %s expired before no push could be under way", w.id)
	}
	returned := w.fields["reason"] == keypackage.ExpiredReturned
	if d["last_resort"] == true {
		if returned {
			r.add("I5", "the reserve of delivery %s was returned", w.id)
		}
		return
	}
	packageID, _ := d["keypackage_event_id"].(string)
	packageEnds, _ := d["package_expires"].(time.Time)
	owner, _ := d["keypackage_owner_pubkey"].(string)
	deleted := r.documents[collections.Tombstones+"/"+keypackage.TombstoneID(packageID, owner)] != nil
	seen := p.unresolved || p.parked || deleted
	if returned && (seen || !packageEnds.After(c.since)) {
		r.add("I5", "delivery %s was returned: unresolved %v, parked %v, deleted %v", w.id, p.unresolved, p.parked, deleted)
	}
	if !returned && !seen && packageEnds.After(c.at) {
		r.add("I5", "delivery %s was burned (%v), though nobody can have seen it", w.id, w.fields["reason"])
	}
}

// checkReturned looks whether a return has put the package back, and nothing else.
func (r *replayed) checkReturned(deliveryID string) {
	d := r.documents[collections.Deliveries+"/"+deliveryID]
	packageID, _ := d["keypackage_event_id"].(string)
	if r.documents[collections.KeyPackages+"/"+packageID] == nil {
		r.add("I5", "delivery %s was returned without its package", deliveryID)
	}
	hash := r.run.Uploads[packageID].Hash
	if entry := r.documents[collections.Ledger+"/"+hash]; entry != nil && entry["delivery_id"] == deliveryID {
		r.add("I5", "delivery %s was returned, and its package still counts as used", deliveryID)
	}
}

// checkEnd compares the replay with what Firestore holds, which also shows that no commit went unseen, and looks for
// packages that are gone without a reason.
func (r *replayed) checkEnd(end invariants.State) {
	stored := make(map[string]bool)
	for _, c := range r.run.commits {
		for _, w := range c.writes {
			if w.collection == collections.KeyPackages && !w.deletes && w.mask == nil {
				stored[w.id] = true
			}
		}
	}
	last := r.run.commits[len(r.run.commits)-1].at
	for id, upload := range r.run.Uploads {
		if (r.documents[collections.KeyPackages+"/"+id] != nil) != end.Stock[id] {
			r.add("I3", "the stock is not what the commits made of it")
		}
		if stored[id] && r.documents[collections.Ledger+"/"+upload.Hash] == nil && r.vanished(upload.Hash, stored, last) {
			r.add("I3", "package %s is gone, and nobody had it", id)
		}
	}
}

// vanished reports whether none of the documents with these bytes is there, or gone for a reason. One of them may have
// been removed as a copy of another that was handed out then.
func (r *replayed) vanished(hash string, stored map[string]bool, at time.Time) bool {
	for id, upload := range r.run.Uploads {
		if upload.Hash == hash && stored[id] && r.why(id, upload, at) != "not in stock" {
			return false
		}
	}
	return true
}
