package store

import (
	"context"
	"maps"
	"slices"

	"cloud.google.com/go/firestore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Answers implements claiming.Store.
func (s *Store) Answers(ctx context.Context, ids []string) (map[string]keypackage.Answer, error) {
	snaps, err := s.get(ctx, docs(s.claims, ids)...)
	if err != nil {
		return nil, err
	}
	return DecodeAnswers(snaps)
}

// DecodeAnswers reads documents of the claims' collection, by request: claims, and dismissals, which are those of no owner.
func DecodeAnswers(snaps []*firestore.DocumentSnapshot) (map[string]keypackage.Answer, error) {
	answers := make(map[string]keypackage.Answer)
	for _, snap := range snaps {
		var claim keypackage.Claim
		if err := decode(snap, &claim); err != nil {
			return nil, err
		}
		answer := answers[claim.RequestID]
		switch {
		case !snap.Exists():
			continue
		case claim.Owner != "":
			answer.Claims = append(answer.Claims, claim)
		default:
			answer.Dismissal = new(keypackage.Dismissal)
			if err := decode(snap, answer.Dismissal); err != nil {
				return nil, err
			}
		}
		answers[claim.RequestID] = answer
	}
	return answers, nil
}

// View implements claiming.Store. It costs one round trip, and another if a request may be joined.
func (s *Store) View(ctx context.Context, owner string, units []claiming.Unit) (*claiming.View, error) {
	refs := []*firestore.DocumentRef{s.owners.Doc(owner)}
	for _, u := range units {
		refs = append(refs, s.pair(u.Request.Requester, owner))
	}
	snaps, err := s.get(ctx, refs...)
	if err != nil {
		return nil, err
	}
	view := &claiming.View{Pairs: make(map[string]keypackage.Pair)}
	if view.Owner, err = readOwner(snaps[0]); err != nil {
		return nil, err
	}
	asked := make(map[keypackage.DeliveryRef]bool)
	for i, u := range units {
		pair := keypackage.Pair{Version: version(snaps[1+i])}
		if err := decode(snaps[1+i], &pair); err != nil {
			return nil, err
		}
		view.Pairs[u.Request.Requester] = pair
		for _, id := range pair.Joinable(u.Request) {
			asked[keypackage.DeliveryRef{ID: id, Owner: owner}] = true
		}
	}
	open, err := s.Deliveries(ctx, slices.Collect(maps.Keys(asked)))
	view.Open = make(map[string]keypackage.StoredDelivery, len(open))
	for _, d := range open {
		view.Open[d.ID] = d
	}
	return view, err
}

// Commit implements claiming.Store.
func (s *Store) Commit(ctx context.Context, plan *claiming.Plan) error {
	t := s.begin()
	s.commitClaims(t, plan)
	s.commitDeliveries(t, plan)
	s.commitHandouts(t, plan)
	s.requireRemaining(t, plan)
	s.commitCleaning(t, plan)
	return t.commit(ctx, "claim")
}

// commitClaims writes the units' answers. The dismissal of the whole request must not exist: whichever is first stands.
func (s *Store) commitClaims(t *transaction, plan *claiming.Plan) {
	for _, claim := range plan.Claims {
		if dismissal := s.claims.Doc(keypackage.DismissalID(claim.RequestID)); len(claim.Owners) > 1 { // claimed at the same moment
			t.require(dismissal, missing)
		} else {
			t.requireMissing(dismissal)
		}
		t.create(s.claims.Doc(claim.ID()), claim)
	}
	for _, pair := range plan.Pairs {
		t.createOrUpdate(s.pair(pair.Requester, pair.Owner), pair.Version, pair)
	}
	switch owner := s.owners.Doc(plan.Owner.Pubkey); {
	case plan.WriteOwner:
		t.createOrUpdate(owner, plan.Owner.Version, plan.Owner)
	case plan.RequireOwner:
		t.require(owner, unchanged(plan.Owner.Version))
	}
}

func (s *Store) commitDeliveries(t *transaction, plan *claiming.Plan) {
	for _, d := range plan.Created {
		t.create(s.deliveries.Doc(d.ID), d)
		t.versions = append(t.versions, &d.Version)
	}
	for _, d := range plan.Joined {
		t.require(s.tombstone(d.PackageID, d.Owner), missing)
		t.update(s.deliveries.Doc(d.ID), d.Version, fields(d, "request_ids"))
	}
	for _, d := range plan.JoinedLate { // delivered for good
		t.require(s.tombstone(d.PackageID, d.Owner), missing)
	}
}

// commitHandouts takes one-time packages out of stock and leaves reserves in it. The ledger entry of a first use is created, which
// fails if the same bytes were handed out meanwhile from another document.
func (s *Store) commitHandouts(t *transaction, plan *claiming.Plan) {
	for _, h := range plan.Consumed {
		t.requireMissing(s.tombstone(h.Candidate.ID, h.Candidate.Owner))
		t.remove(s.keyPackages.Doc(h.Candidate.ID), h.Candidate.Version)
		t.create(s.ledger.Doc(h.Ledger.Hash), h.Ledger)
	}
	seen := make(map[string]bool)
	for _, h := range plan.Reserves {
		t.require(s.tombstone(h.Candidate.ID, h.Candidate.Owner), missing)
		t.require(s.keyPackages.Doc(h.Candidate.ID), unchanged(h.Candidate.Version))
		switch {
		case seen[h.Ledger.Hash]: // another event with the same bytes
		case h.NewUse:
			t.create(s.ledger.Doc(h.Ledger.Hash), h.Ledger)
		default:
			t.require(s.ledger.Doc(h.Ledger.Hash), used(keypackage.UseReserve))
		}
		seen[h.Ledger.Hash] = true
	}
}

// requireRemaining makes sure that a valid package remains. One that is a reserve of the same plan was looked at, in one of its events.
func (s *Store) requireRemaining(t *transaction, plan *claiming.Plan) {
	for _, c := range plan.Remaining {
		if !slices.ContainsFunc(plan.Reserves, func(h claiming.Handout) bool { return h.Ledger.Hash == c.Hash }) {
			s.requireStock(t, c)
		}
	}
}

// requireStock makes sure that a package is still in stock and as valid as it was when it was read.
func (s *Store) requireStock(t *transaction, c *keypackage.Candidate) {
	t.require(s.keyPackages.Doc(c.ID), unchanged(c.Version))
	t.requireMissing(s.tombstone(c.ID, c.Owner))
	t.require(s.ledger.Doc(c.Hash), used(c.Use))
}

// commitCleaning removes what is of no use and flags what does not verify. The reason for a removal is read again: the update time
// would not show that a return has put the package back with the same content, since a write that changes nothing keeps it.
func (s *Store) commitCleaning(t *transaction, plan *claiming.Plan) {
	for _, c := range plan.Removed {
		switch {
		case c.Tombstoned:
			t.require(s.tombstone(c.ID, c.Owner), exists)
		case c.Use == keypackage.UseOneTime:
			t.require(s.ledger.Doc(c.Hash), used(keypackage.UseOneTime))
		}
		t.remove(s.keyPackages.Doc(c.ID), c.Version)
	}
	for _, c := range plan.Flagged {
		t.update(s.keyPackages.Doc(c.ID), c.Version, []firestore.Update{{Path: keypackage.FieldFlaw, Value: c.Flaw}})
	}
}

// NeverPushed implements claiming.Store. It costs one read a delivery.
func (s *Store) NeverPushed(ctx context.Context, refs []keypackage.DeliveryRef) (bool, error) {
	snaps, err := s.get(ctx, s.deliveryDocs(refs)...)
	for _, snap := range snaps {
		if !snap.Exists() {
			continue
		}
		d, err := readDelivery(snap)
		if err != nil || d.State == keypackage.StatePending && d.PushNo == 0 {
			return err == nil, err
		}
	}
	return false, err
}

// dismissal is the document of a dismissal: it has all fields of a claim, so that the collection holds one kind of document.
type dismissal struct {
	keypackage.Dismissal
	Owner       string   `firestore:"owner_pubkey"`
	Granted     int      `firestore:"granted"`
	Reserve     bool     `firestore:"last_resort"`
	DeliveryIDs []string `firestore:"delivery_ids"`
	Gateway     bool     `firestore:"gateway"`
}

// Dismiss implements claiming.Store.
func (s *Store) Dismiss(ctx context.Context, d keypackage.Dismissal, unitIDs []string) error {
	t := s.begin()
	for _, id := range unitIDs {
		t.require(s.claims.Doc(id), missing)
	}
	t.create(s.claims.Doc(keypackage.DismissalID(d.RequestID)), dismissal{Dismissal: d})
	return t.commit(ctx, "dismiss a request")
}

// NoteOutcome implements claiming.Store.
func (s *Store) NoteOutcome(ctx context.Context, documentID string, answer keypackage.Answer) error {
	updates := append(unmarked(answer.KeepUntil()), firestore.Update{
		Path: "outcome", Value: map[string]any{"status": answer.Outcome(), "rows": answer.Rows()},
	})
	if answer.Observed() {
		updates = append(updates, firestore.Update{Path: "observed", Value: answer.Dismissal.Observed})
	}
	_, err := s.requests.Doc(documentID).Update(ctx, updates)
	if status.Code(err) == codes.NotFound {
		return nil // the relay removed the document
	}
	return failed("note the outcome", err)
}

func (s *Store) pair(requester, owner string) *firestore.DocumentRef {
	return s.pairs.Doc(requester + "_" + owner)
}
