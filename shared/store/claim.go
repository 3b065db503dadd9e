package store

import (
	"context"
	"fmt"

	"cloud.google.com/go/firestore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var _ claiming.Store = (*Store)(nil)

// Commit implements claiming.Store.
func (s *Store) Commit(ctx context.Context, plan *claiming.Plan) error {
	t := s.begin()
	s.commitClaims(t, plan)
	s.commitOwner(t, plan)
	s.commitDeliveries(t, plan)
	s.commitHandouts(t, plan)
	s.requireRemaining(t, plan)
	s.commitCleaning(t, plan)
	at, err := t.commit(ctx, "claim")
	if err != nil {
		return err
	}
	for _, d := range plan.Created {
		d.Version = at // one transaction, one update time for all its documents
	}
	return nil
}

// commitClaims creates the claims of the units. The dismissal of the whole request must not exist: whichever is first
// stands.
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
		t.createOrUpdate(s.pair(pair.Requester, pair.Owner), pair.Version, pair, []firestore.Update{
			{Path: "requests", Value: pair.Requests}, {Path: "open", Value: pair.Open},
			{Path: "last_req", Value: pair.LastREQ}, {Path: "keep_until", Value: pair.KeepUntil},
		})
	}
}

func (s *Store) commitOwner(t *transaction, plan *claiming.Plan) {
	owner := plan.Owner
	switch ref := s.owners.Doc(owner.Pubkey); {
	case plan.WriteOwner:
		t.createOrUpdate(ref, owner.Version, owner, []firestore.Update{
			{Path: "handed_out", Value: owner.HandedOut}, {Path: "supplies", Value: owner.Supplies},
			{Path: "pending", Value: owner.Pending}, {Path: "stocked", Value: owner.Stocked},
			{Path: "at_least", Value: owner.AtLeast}, {Path: "keep_until", Value: owner.KeepUntil},
		})
	case plan.RequireOwner:
		t.require(ref, unchanged(owner.Version))
	}
}

func (s *Store) commitDeliveries(t *transaction, plan *claiming.Plan) {
	for _, d := range plan.Created {
		t.create(s.deliveries.Doc(d.ID), d)
	}
	for _, d := range plan.Joined {
		t.require(s.tombstone(d.PackageID, d.Owner), missing)
		t.update(s.deliveries.Doc(d.ID), d.Version, []firestore.Update{{Path: "request_ids", Value: d.RequestIDs}})
	}
	for _, d := range plan.JoinedLate { // delivered for good
		t.require(s.tombstone(d.PackageID, d.Owner), missing)
	}
}

// commitHandouts takes one-time packages out of stock and leaves reserves in it. The ledger entry of a first use is
// created, which fails if the same bytes were handed out meanwhile from another document.
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

// requireRemaining makes sure that a valid package remains. One that is a reserve of the same plan was already looked at,
// in one of its events.
func (s *Store) requireRemaining(t *transaction, plan *claiming.Plan) {
	reserves := make(map[string]bool)
	for _, h := range plan.Reserves {
		reserves[h.Ledger.Hash] = true
	}
	for _, c := range plan.Remaining {
		if !reserves[c.Hash] {
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

// commitCleaning removes documents that are of no use and flags those that do not verify. The reason for a removal is
// read again: the update time alone would not show that a return has put the package back with the same content, since a
// write that changes nothing keeps it.
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
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	snaps, err := s.get(ctx, docs(s.deliveries, ids))
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
	return t.run(ctx, "dismiss a request")
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
	if err == nil || status.Code(err) == codes.NotFound {
		return nil // noted, or the relay removed the document
	}
	return fault.Retryable("firestore", fmt.Errorf("note the outcome: %w", err))
}

func (s *Store) pair(requester, owner string) *firestore.DocumentRef {
	return s.pairs.Doc(requester + "_" + owner)
}
