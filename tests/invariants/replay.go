package invariants

import (
	"maps"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// replay goes through the commits in the order in which Firestore made them, and checks what the end does not show: I2,
// I5, the acknowledgements of I4, and that nothing vanishes (I3).
func replay(run Run, end State, names config.Collections, v *violations) {
	r := replayed{
		violations: v, run: run, names: names, documents: make(map[string]map[string]any), pushes: make(map[string]*pushes),
	}
	for _, ack := range run.Acks {
		if !slices.ContainsFunc(run.Commits[:ack.Commits], func(c Commit) bool { return r.answers(c, ack.RequestID) }) {
			v.add("I4", "request %s was acknowledged before its answer was recorded", short(ack.RequestID))
		}
	}
	commits := slices.Clone(run.Commits)
	slices.SortStableFunc(commits, func(a, b Commit) int { return a.Time.Compare(b.Time) })
	for _, c := range commits {
		r.step(c)
	}
	r.checkEnd(end)
}

type replayed struct {
	*violations
	run       Run
	names     config.Collections
	documents map[string]map[string]any // by collection and id
	pushes    map[string]*pushes        // by delivery id
}

// answers reports whether the commit holds a claim of the request.
func (r *replayed) answers(c Commit, requestID string) bool {
	return slices.ContainsFunc(c.Writes, func(w Write) bool {
		return w.Collection == r.names.Claims && w.Fields["request_event_id"] == requestID
	})
}

// step applies one commit. What it may not do is judged for the whole time in which the function that made it ran, and
// in its favour: packages may expire meanwhile.
func (r *replayed) step(c Commit) {
	before := r.stock(c.At)
	for _, w := range c.Writes {
		if c.System && w.Collection == r.names.Deliveries {
			r.followPush(w, c)
		}
	}
	for _, w := range c.Writes {
		r.apply(w)
	}
	if !c.System {
		return
	}
	after := r.stock(c.Since)
	for suite := range before {
		if len(after[suite]) == 0 {
			r.add("I2", "owner %s lost the last valid package of suite %d", short(suite.owner), suite.suite)
		}
	}
	for _, w := range c.Writes {
		if w.Collection == r.names.Deliveries && w.Fields["reason"] == keypackage.ExpiredReturned {
			r.checkReturned(w.ID)
		}
	}
}

func (r *replayed) apply(w Write) {
	key := w.Collection + "/" + w.ID
	switch {
	case w.Delete:
		delete(r.documents, key)
	case w.Mask == nil:
		r.documents[key] = w.Fields
	default:
		changed := maps.Clone(r.documents[key])
		for _, field := range w.Mask {
			changed[field] = w.Fields[field]
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
func (r *replayed) why(id string, upload Upload, at time.Time) string {
	ledger := r.documents[r.names.Ledger+"/"+upload.Hash]
	switch {
	case r.documents[r.names.Tombstones+"/"+keypackage.TombstoneID(id, upload.Owner)] != nil:
		return "deleted"
	case !upload.Expires.After(at):
		return "expired"
	case ledger != nil && ledger["use"] == string(keypackage.UseOneTime):
		return "used"
	case r.documents[r.names.KeyPackages+"/"+id] == nil:
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
func (r *replayed) followPush(w Write, c Commit) {
	p := r.pushes[w.ID]
	if p == nil {
		p = &pushes{state: string(keypackage.StatePending)}
		r.pushes[w.ID] = p
	}
	state, ok := w.Fields["state"].(string)
	if !ok {
		return // a request joined
	}
	switch {
	case terminal(p.state) && state != p.state:
		r.add("I3", "delivery %s was %s and became %s", short(w.ID), p.state, state)
	case terminal(p.state): // only the last result may change
	case p.state == string(keypackage.StateSending) && state == string(keypackage.StatePending):
		p.answered(w.Fields["last_result"])
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

func (r *replayed) checkExpired(w Write, p *pushes, c Commit) {
	d := r.documents[r.names.Deliveries+"/"+w.ID]
	if d == nil {
		return
	}
	ends, _ := d["expires_at"].(time.Time)
	if c.At.Before(ends.Add(keypackage.Fence)) {
		r.add("I8", "delivery %s expired before no push could be under way", short(w.ID))
	}
	returned := w.Fields["reason"] == keypackage.ExpiredReturned
	if d["last_resort"] == true {
		if returned {
			r.add("I5", "the reserve of delivery %s was returned", short(w.ID))
		}
		return
	}
	packageID, _ := d["keypackage_event_id"].(string)
	packageEnds, _ := d["package_expires"].(time.Time)
	owner, _ := d["keypackage_owner_pubkey"].(string)
	deleted := r.documents[r.names.Tombstones+"/"+keypackage.TombstoneID(packageID, owner)] != nil
	seen := p.unresolved || p.parked || deleted
	if returned && (seen || !packageEnds.After(c.Since)) {
		r.add("I5", "delivery %s was returned: unresolved %v, parked %v, deleted %v", short(w.ID), p.unresolved, p.parked, deleted)
	}
	if !returned && !seen && packageEnds.After(c.At) {
		r.add("I5", "delivery %s was burned (%v), though nobody can have seen it", short(w.ID), w.Fields["reason"])
	}
}

// checkReturned looks whether a return has put the package back, and nothing else.
func (r *replayed) checkReturned(deliveryID string) {
	d := r.documents[r.names.Deliveries+"/"+deliveryID]
	packageID, _ := d["keypackage_event_id"].(string)
	if r.documents[r.names.KeyPackages+"/"+packageID] == nil {
		r.add("I5", "delivery %s was returned without its package", short(deliveryID))
	}
	hash := r.run.Uploads[packageID].Hash
	if entry := r.documents[r.names.Ledger+"/"+hash]; entry != nil && entry["delivery_id"] == deliveryID {
		r.add("I5", "delivery %s was returned, and its package still counts as used", short(deliveryID))
	}
}

// checkEnd compares the replay with what Firestore holds, which also shows that no commit went unseen, and looks for
// packages that are gone without a reason.
func (r *replayed) checkEnd(end State) {
	stored := make(map[string]bool)
	for _, c := range r.run.Commits {
		for _, w := range c.Writes {
			if w.Collection == r.names.KeyPackages && !w.Delete && w.Mask == nil {
				stored[w.ID] = true
			}
		}
	}
	last := r.run.Commits[len(r.run.Commits)-1].At
	for id, upload := range r.run.Uploads {
		if (r.documents[r.names.KeyPackages+"/"+id] != nil) != end.Stock[id] {
			r.add("I3", "the stock is not what the commits made of it")
		}
		if stored[id] && r.documents[r.names.Ledger+"/"+upload.Hash] == nil && r.vanished(upload.Hash, stored, last) {
			r.add("I3", "package %s is gone, and nobody had it", short(id))
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
