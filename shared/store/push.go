package store

import (
	"context"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var _ delivering.Store = (*Store)(nil)

// openStates are the states of deliveries that have not ended.
var openStates = []keypackage.State{keypackage.StatePending, keypackage.StateSending}

// Announced implements delivering.Store. It costs one round trip, and no query. The claim of a request for one owner stands on
// its deliveries as well.
func (s *Store) Announced(
	ctx context.Context, a keypackage.Announcement,
) (keypackage.Answer, []keypackage.StoredDelivery, error) {
	var refs []*firestore.DocumentRef
	named := a.Deliveries()
	if len(a.Granted) > 1 || len(named) == 0 {
		for owner := range a.Granted {
			refs = append(refs, s.claims.Doc(keypackage.ClaimID(a.RequestID, owner)))
		}
	}
	claims := len(refs)
	for _, ref := range named {
		refs = append(refs, s.deliveries.Doc(ref.ID))
	}
	snaps, err := s.get(ctx, refs)
	if err != nil {
		return keypackage.Answer{}, nil, err
	}
	answers, err := DecodeAnswers(snaps[:claims])
	if err != nil {
		return keypackage.Answer{}, nil, err
	}
	answer := answers[a.RequestID]
	var found []keypackage.StoredDelivery
	for _, snap := range snaps[claims:] {
		if !snap.Exists() {
			continue
		}
		if d, err := readDelivery(snap); err == nil { // see readStored
			found = append(found, keypackage.StoredDelivery{Delivery: d})
			if claims == 0 {
				answer = d.AnswerTo(a.RequestID)
			}
		}
	}
	return answer, found, nil
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
func (s *Store) Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) ([]keypackage.StoredDelivery, error) {
	snaps, err := s.get(ctx, s.withTombstone(refs))
	if err != nil {
		return nil, err
	}
	return readStored(snaps), nil
}

// withTombstone returns the document of each delivery and, behind it, the tombstone of its package.
func (s *Store) withTombstone(refs []keypackage.DeliveryRef) []*firestore.DocumentRef {
	docs := make([]*firestore.DocumentRef, 0, 2*len(refs))
	for _, ref := range refs {
		docs = append(docs, s.deliveries.Doc(ref.ID), s.tombstone(keypackage.PackageOf(ref.ID), ref.Owner))
	}
	return docs
}

// readStored reads those deliveries that exist; behind each in snaps is the tombstone of its package. What cannot be read is
// left out: the scheduled function meets it as well, and says so.
func readStored(snaps []*firestore.DocumentSnapshot) []keypackage.StoredDelivery {
	found := make([]keypackage.StoredDelivery, 0, len(snaps)/2)
	for i := 0; i < len(snaps); i += 2 {
		if !snaps[i].Exists() {
			continue
		}
		if d, err := readDelivery(snaps[i]); err == nil {
			found = append(found, keypackage.StoredDelivery{Delivery: d, Tombstoned: snaps[i+1].Exists()})
		}
	}
	return found
}

// OpenFor implements delivering.Store. What cannot be read is left out here as well.
func (s *Store) OpenFor(ctx context.Context, requester, after string, limit int) ([]keypackage.StoredDelivery, error) {
	open := s.deliveries.Where("requester_pubkey", "==", requester).Where("state", "in", openStates).
		OrderBy(firestore.DocumentID, firestore.Asc)
	var found []keypackage.StoredDelivery
	for wanted := limit; wanted > 0; wanted = limit - len(found) {
		query := open.Limit(wanted)
		if after != "" {
			query = query.StartAfter(after)
		}
		snaps, err := query.Documents(ctx).GetAll()
		if err != nil {
			return nil, failed("read the open deliveries of a requester", err)
		}
		for _, snap := range snaps {
			if d, err := readDelivery(snap); err == nil {
				found = append(found, keypackage.StoredDelivery{Delivery: d})
			}
			after = snap.Ref.ID
		}
		if len(snaps) < wanted {
			break
		}
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
	}
	at, err := t.commit(ctx, "begin a push")
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		d.Version = at // one transaction, one update time for all its documents
	}
	return nil
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
	return t.run(ctx, "record a push")
}

// progress lists the fields that change in the life of a delivery. Zero times are not written.
func progress(d *keypackage.Delivery) []firestore.Update {
	updates := []firestore.Update{
		{Path: "state", Value: d.State}, {Path: "push_no", Value: d.PushNo}, {Path: "lease_by", Value: d.LeaseBy},
		{Path: "exposure_unknown", Value: d.ExposureUnknown}, {Path: "parked", Value: d.Parked},
		{Path: "attempts", Value: d.Attempts}, {Path: "last_result", Value: d.LastResult}, {Path: "reason", Value: d.Reason},
	}
	times := map[string]time.Time{
		"lease_until": d.LeaseUntil, "delivered_at": d.DeliveredAt, "finished_at": d.FinishedAt, "keep_until": d.KeepUntil,
	}
	if !d.Open() {
		updates = append(updates, firestore.Update{Path: "due_shard", Value: firestore.Delete})
	}
	for path, at := range times {
		if !at.IsZero() {
			updates = append(updates, firestore.Update{Path: path, Value: at})
		}
	}
	return updates
}
