package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Answers implements claiming.Store.
func (s *Store) Answers(ctx context.Context, ids []string) (map[string]keypackage.Answer, error) {
	snaps, err := s.get(ctx, docs(s.claims, ids))
	if err != nil {
		return nil, err
	}
	return DecodeAnswers(snaps)
}

// View implements claiming.Store. It costs one round trip, and another if a request may be joined.
func (s *Store) View(ctx context.Context, owner string, units []claiming.Unit) (*claiming.View, error) {
	var requesters []string
	for _, u := range units {
		requesters = append(requesters, u.Request.Requester)
	}
	slices.Sort(requesters)
	requesters = slices.Compact(requesters)
	refs := []*firestore.DocumentRef{s.owners.Doc(owner)}
	for _, requester := range requesters {
		refs = append(refs, s.pair(requester, owner))
	}
	snaps, err := s.get(ctx, refs)
	if err != nil {
		return nil, err
	}
	view := &claiming.View{Owner: keypackage.Owner{Pubkey: owner}, Pairs: make(map[string]keypackage.Pair)}
	if err := decode(snaps[0], &view.Owner); err != nil {
		return nil, err
	}
	view.Owner.Version = version(snaps[0])
	for i, requester := range requesters {
		pair := keypackage.Pair{}
		if err := decode(snaps[1+i], &pair); err != nil {
			return nil, err
		}
		pair.Version = version(snaps[1+i])
		view.Pairs[requester] = pair
	}
	view.Open, err = s.joinable(ctx, units, view.Pairs)
	return view, err
}

// joinable reads the open deliveries that one of the units asks for again.
func (s *Store) joinable(
	ctx context.Context, units []claiming.Unit, pairs map[string]keypackage.Pair,
) (map[string]keypackage.StoredDelivery, error) {
	asked := make(map[keypackage.DeliveryRef]bool)
	for _, u := range units {
		for _, id := range pairs[u.Request.Requester].Joinable(u.Request) {
			asked[keypackage.DeliveryRef{ID: id, Owner: u.Owner}] = true
		}
	}
	all, err := s.Deliveries(ctx, slices.Collect(maps.Keys(asked)))
	found := make(map[string]keypackage.StoredDelivery, len(all))
	for _, f := range all {
		found[f.ID] = f
	}
	return found, err
}

// decode reads a document of ours; a missing one leaves the value alone.
func decode(snap *firestore.DocumentSnapshot, into any) error {
	if !snap.Exists() {
		return nil
	}
	if err := snap.DataTo(into); err != nil {
		return unreadable(snap, err)
	}
	return nil
}

// unreadable is keypackage.ErrUnreadable about a document.
func unreadable(snap *firestore.DocumentSnapshot, cause error) error {
	err := fmt.Errorf("%s/%s: %w", snap.Ref.Parent.ID, snap.Ref.ID, errors.Join(keypackage.ErrUnreadable, cause))
	return fault.Retryable("document_unreadable", err)
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
