package claiming

import (
	"errors"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Limits are the settings that a decision depends on.
type Limits struct {
	DeliveryTTL        time.Duration
	PairLimitPerHour   int
	OwnerBudgetPerHour int
}

// What a decision may lack.
var (
	errMoreStock  = errors.New("more stock is needed")
	errNotCounted = errors.New("what is left is to be counted")
)

// stock is the part of an owner's documents that was read. What its marks mean together:
//
//	complete  truncated  what was read                             the reserve is          levels are told
//	no        no         the oldest, without a gap                 more is read first      by the count
//	no        no         and the newest, some of them beyondGap    the last of the newest  no
//	yes       no         everything                                the last                exactly
//	yes       yes        the oldest, up to a bound (and newest)    the last of these       no
//
// As long as it is not complete, one-time packages are taken from the part without a gap only.
type stock struct {
	documents []*keypackage.Candidate // oldest first
	newest    map[string]bool         // ids among the newest documents, read when the budget does not suffice
	beyondGap map[string]bool         // those of them between which and the oldest there may be others, not read
	complete  bool                    // there are no more, or no more are read
	truncated bool                    // no more are read: a bound was reached
	isCounted bool
	counted   int             // documents, up to a limit
	countedOf mls.Ciphersuite // those that claim to be of this suite; 0: all
}

// decision decides units one after another, each seeing the effects of those before.
type decision struct {
	now    time.Time
	limits Limits
	view   *View
	stock  *stock
	valid  []*keypackage.Candidate               // distinct valid packages that nobody was given as one-time yet; copies
	twins  map[string]*keypackage.Candidate      // by hash: kind-443 events, for packages that may also stand as kind 30443
	open   map[string]*keypackage.StoredDelivery // by id: earlier deliveries, and those that this decision creates
	pairs  map[string]*keypackage.Pair
	dirty  map[string]bool // requesters whose pair is written
	cut    bool            // something was decided without having read the stock to its end
	plan   *Plan
}

// decide plans the answers to all units. It changes neither the view nor the stock, and returns errMoreStock if the stock
// was not read far enough, errNotCounted if it has to be counted.
func decide(units []Unit, view *View, s *stock, limits Limits, now time.Time) (*Plan, error) {
	d := newDecision(view, s, limits, now)
	for _, u := range units {
		if err := d.answer(u); err != nil {
			return nil, err
		}
	}
	d.noteStocked()
	d.plan.Remaining = d.remaining()
	d.clean()
	if err := d.supplies(); err != nil {
		return nil, err
	}
	d.plan.Owner.KeepUntil = now.Add(keypackage.OwnerRetention)
	for requester := range d.dirty {
		pair := d.pairs[requester]
		pair.KeepUntil = now.Add(keypackage.PairRetention)
		d.plan.Pairs = append(d.plan.Pairs, *pair)
	}
	return d.plan, nil
}

func newDecision(view *View, s *stock, limits Limits, now time.Time) *decision {
	d := &decision{
		now: now, limits: limits, view: view, stock: s, plan: &Plan{Owner: view.Owner},
		open: make(map[string]*keypackage.StoredDelivery), twins: make(map[string]*keypackage.Candidate),
		pairs: make(map[string]*keypackage.Pair), dirty: make(map[string]bool),
	}
	for _, c := range keypackage.Current(s.documents) {
		if c.Valid(now) {
			own := *c
			d.valid = append(d.valid, &own)
			if !own.Addressable {
				d.twins[own.Hash] = &own
			}
		}
	}
	d.valid = keypackage.Distinct(d.valid)
	for id, open := range view.Open {
		d.open[id] = &open
	}
	return d
}

func (d *decision) answer(u Unit) error {
	claim := newClaim(u, d.now)
	fill := d.fill
	if u.Request.REQ {
		fill = d.fillREQ
	}
	if err := fill(&claim, u); err != nil {
		return err
	}
	d.plan.Answers = append(d.plan.Answers, claim)
	if claim.RequestID == u.Request.ID && (claim.Granted > 0 || !u.Request.REQ) {
		d.plan.Claims = append(d.plan.Claims, claim)
		for _, delivery := range d.plan.Created {
			if delivery.RequestID == claim.RequestID && len(claim.Owners) == 1 { // then the claim is the whole answer
				delivery.Claim = &claim
			}
		}
	}
	return nil
}

func newClaim(u Unit, now time.Time) keypackage.Claim {
	return keypackage.Claim{
		RequestID: u.Request.ID, Requester: u.Request.Requester, Owner: u.Owner, Owners: u.Request.Owners,
		Requested: u.Request.Min, Authentic: !u.Request.REQ, Gateway: u.Holder != "", CreatedAt: now,
		KeepUntil: keypackage.KeepAnswerUntil(u.Request.ValidUntil),
	}
}

// fill decides one unit of a 447: the limits first, then what it joins, then what it takes from stock.
func (d *decision) fill(claim *keypackage.Claim, u Unit) error {
	req := u.Request
	if !req.ValidUntil.After(d.now) {
		claim.Status, claim.Reason = keypackage.StatusNone, keypackage.ReasonStale
		return nil
	}
	pair := d.pair(req.Requester)
	d.dirty[req.Requester] = true // if only under the condition that it has not changed: the limit relies on it
	if limit := d.limits.PairLimitPerHour; pair.Requests.Count(d.now) >= limit {
		claim.Status, claim.Reason = keypackage.StatusLimited, keypackage.ReasonPairLimit
		claim.RetryAt = pair.Requests.RetryAt(d.now, limit)
		return nil
	}
	pair.Requests = pair.Requests.Add(d.now, 1)
	d.join(claim, req, pair)
	d.joinREQ(claim, req, pair)
	return d.fromStock(claim, u, d.budget())
}

// fromStock gives the unit what it still misses, out of the stock.
func (d *decision) fromStock(claim *keypackage.Claim, u Unit, budget int) error {
	selected, err := d.selectPackages(u.Request, claim.Requested-claim.Granted, claim.Reserve, budget)
	if err != nil {
		return err
	}
	d.handOut(claim, u, selected)
	d.conclude(claim, selected)
	return nil
}

// budget is how many one-time packages of the owner may still be handed out.
func (d *decision) budget() int {
	return max(0, d.limits.OwnerBudgetPerHour-d.plan.Owner.HandedOut.Count(d.now))
}

// pair returns the working copy.
func (d *decision) pair(requester string) *keypackage.Pair {
	if p, ok := d.pairs[requester]; ok {
		return p
	}
	p := d.view.Pairs[requester]
	p.Requester, p.Owner = requester, d.view.Owner.Pubkey
	p.Open = slices.Clone(p.Open)
	p.Prune(d.now)
	d.pairs[requester] = &p
	return &p
}

// join adds the request to the deliveries that an earlier request for the same is still waiting for, one-time ones first,
// up to what is wanted. A REQ joins no reserve, whose event may be of a kind that it does not take.
func (d *decision) join(claim *keypackage.Claim, req *keypackage.Request, pair *keypackage.Pair) {
	for _, wantReserve := range []bool{false, true} {
		for _, entry := range pair.Open {
			open, ok := d.open[entry.DeliveryID]
			if !ok || entry.Ask != req.Ask || claim.Granted == claim.Requested {
				continue
			}
			if open.Tombstoned || !open.Joinable(d.now) || open.Reserve != wantReserve {
				continue
			}
			if wantReserve && (claim.Reserve || req.REQ) {
				continue // at most one reserve
			}
			d.joinOne(claim, &open.Delivery)
		}
	}
}

func (d *decision) joinOne(claim *keypackage.Claim, delivery *keypackage.Delivery) {
	delivery.Join(claim.RequestID)
	if !slices.Contains(d.plan.Created, delivery) && !slices.Contains(d.plan.Joined, delivery) {
		d.plan.Joined = append(d.plan.Joined, delivery)
	}
	claim.Grant(delivery)
}

// conclude gives the claim its status. A budget that did not suffice is told even if the reserve filled the gap.
func (d *decision) conclude(claim *keypackage.Claim, t selection) {
	if t.overBudget {
		d.plan.RequireOwner, d.cut = true, true
		claim.Reason = keypackage.ReasonBudget
		claim.RetryAt = d.plan.Owner.HandedOut.RetryAt(d.now, d.limits.OwnerBudgetPerHour)
	}
	switch {
	case claim.Granted >= claim.Requested:
		claim.Status = keypackage.StatusFull
	case claim.Granted > 0:
		claim.Status = keypackage.StatusPartial
	case t.overBudget:
		claim.Status = keypackage.StatusLimited
	case t.unknownSuite:
		claim.Status = keypackage.StatusNoMatch
	case len(d.valid) > 0 || d.stock.truncated:
		claim.Status = keypackage.StatusNoMatch
		d.require(upTo(1, d.valid)...)
		if d.stock.truncated {
			claim.Reason = keypackage.ReasonScanLimit
		}
	default:
		claim.Status, claim.OutOfStock = keypackage.StatusNone, !d.view.Owner.Stocked
		if slices.ContainsFunc(d.stock.documents, func(c *keypackage.Candidate) bool { return !c.Removable(d.now) }) {
			claim.Reason = keypackage.ReasonUnusable
		}
	}
}

// remaining picks, for each ciphersuite that is consumed from, the package that stays: the last in the order of use, which
// other claims are the least likely to consume.
func (d *decision) remaining() []*keypackage.Candidate {
	last := keypackage.Reserves(d.valid)
	var remaining []*keypackage.Candidate
	for _, h := range d.plan.Consumed {
		if c := last[h.Candidate.Suite]; !slices.Contains(remaining, c) {
			remaining = append(remaining, c)
		}
	}
	return remaining
}

// Bounds of what one claim removes and flags on the way. It is part of the claim's transaction, which Firestore refuses
// beyond 10 MiB, the documents that are deleted included; what is left is met by the next claim.
const (
	cleanLimit = 20
	cleanBytes = 1 << 20
)

// clean removes what can never be handed out again and flags what does not verify, among the documents that were met.
func (d *decision) clean() {
	bytes := 0
	for _, c := range d.stock.documents {
		if len(d.plan.Removed)+len(d.plan.Flagged) == cleanLimit || bytes > cleanBytes {
			return
		}
		bytes += c.Size
		switch {
		case c.Removable(d.now):
			d.plan.Removed = append(d.plan.Removed, c)
		case c.Flaw != "" && c.Document.Text(keypackage.FieldFlaw) != c.Flaw:
			d.plan.Flagged = append(d.plan.Flagged, c)
		}
	}
}
