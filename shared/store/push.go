package store

import (
	"context"
	"slices"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Announced implements delivering.Store, without a query. The claim of a request for one owner stands on its deliveries as well.
func (s *Store) Announced(ctx context.Context, a keypackage.Announcement) (keypackage.Answer, []keypackage.StoredDelivery, error) {
	var refs []*firestore.DocumentRef
	named := a.Deliveries()
	if len(a.Granted) > 1 || len(named) == 0 {
		for owner := range a.Granted {
			refs = append(refs, s.claims.Doc(keypackage.ClaimID(a.RequestID, owner)))
		}
	}
	claims := len(refs)
	snaps, err := s.get(ctx, append(refs, s.deliveryDocs(named)...)...)
	if err != nil {
		return keypackage.Answer{}, nil, err
	}
	answers, err := DecodeAnswers(snaps[:claims])
	if err != nil {
		return keypackage.Answer{}, nil, err
	}
	found := readStored(snaps[claims:])
	if claims == 0 && len(found) > 0 {
		return found[len(found)-1].AnswerTo(a.RequestID), found, nil
	}
	return answers[a.RequestID], found, nil
}

func (s *Store) deliveryDocs(refs []keypackage.DeliveryRef) []*firestore.DocumentRef {
	docs := make([]*firestore.DocumentRef, len(refs))
	for i, ref := range refs {
		docs[i] = s.deliveries.Doc(ref.ID)
	}
	return docs
}

// Answer implements delivering.Store.
func (s *Store) Answer(ctx context.Context, requestID string) (keypackage.Answer, error) {
	snaps, err := s.claims.Where("request_event_id", "==", requestID).Documents(ctx).GetAll()
	if err != nil {
		return keypackage.Answer{}, failed("read the answer to a request", err)
	}
	answers, err := DecodeAnswers(snaps)
	return answers[requestID], err
}

// Deliveries implements delivering.Store.
func (s *Store) Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) (found []keypackage.StoredDelivery, err error) {
	docs := make([]*firestore.DocumentRef, 0, 2*len(refs))
	for _, ref := range refs {
		docs = append(docs, s.deliveries.Doc(ref.ID), s.tombstone(keypackage.PackageOf(ref.ID), ref.Owner))
	}
	snaps, err := s.get(ctx, docs...)
	for both := range slices.Chunk(snaps, 2) {
		if d, err := readDelivery(both[0]); err == nil { // see readStored
			found = append(found, keypackage.StoredDelivery{Delivery: d, Tombstoned: both[1].Exists()})
		}
	}
	return found, err
}

// readStored leaves out what does not exist and what cannot be read: the scheduled function meets it as well, and says so.
func readStored(snaps []*snapshot) (found []keypackage.StoredDelivery) {
	for _, snap := range snaps {
		if d, err := readDelivery(snap); err == nil {
			found = append(found, keypackage.StoredDelivery{Delivery: d})
		}
	}
	return found
}

// readDelivery takes for unreadable also what is not whole: it would fail whatever is done about it, and what else is done with it.
func readDelivery(snap *snapshot) (keypackage.Delivery, error) {
	d := keypackage.Delivery{ID: snap.Ref.ID, Version: snap.UpdateTime}
	if err := decode(snap, &d); err != nil {
		return d, err
	}
	if !d.Whole() {
		return d, unreadable(snap, nil)
	}
	return d, nil
}

// openStates are the states of deliveries that have not ended.
var openStates = []keypackage.State{keypackage.StatePending, keypackage.StateSending}

// OpenFor implements delivering.Store. What cannot be read is left out here as well.
func (s *Store) OpenFor(ctx context.Context, requester, after string, limit int) (found []keypackage.StoredDelivery, err error) {
	open := s.deliveries.Where("requester_pubkey", "==", requester).Where("state", "in", openStates).
		OrderBy(firestore.DocumentID, firestore.Asc)
	for wanted := limit; wanted > 0; wanted = limit - len(found) {
		query := open.Limit(wanted)
		if after != "" {
			query = query.StartAfter(after)
		}
		snaps, err := query.Documents(ctx).GetAll()
		if err != nil {
			return nil, failed("read the open deliveries of a requester", err)
		}
		found = append(found, readStored(snaps)...)
		if len(snaps) < wanted {
			break
		}
		after = snaps[len(snaps)-1].Ref.ID
	}
	return found, nil
}

// BeginPush implements delivering.Store.
func (s *Store) BeginPush(ctx context.Context, deliveries []*keypackage.Delivery) error {
	t := s.begin()
	for _, d := range deliveries {
		if tombstone := s.tombstone(d.PackageID, d.Owner); d.Reserve { // others push it as well
			t.require(tombstone, missing)
		} else {
			t.requireMissing(tombstone)
		}
		t.update(s.deliveries.Doc(d.ID), d.Version, progress(d))
		t.versions = append(t.versions, &d.Version)
	}
	return t.commit(ctx, "begin a push")
}

// SaveResults implements delivering.Store.
func (s *Store) SaveResults(ctx context.Context, deliveries []*keypackage.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	t := s.begin()
	for _, d := range deliveries {
		t.update(s.deliveries.Doc(d.ID), d.Version, progress(d))
	}
	return t.commit(ctx, "record a push")
}

// progress lists the fields that change in the life of a delivery.
func progress(d *keypackage.Delivery) []firestore.Update {
	return fields(d, "state", "push_no", "lease_by", "lease_until", "exposure_unknown", "parked", "attempts", "last_result", "reason",
		"delivered_at", "finished_at", "keep_until", "due_shard")
}
