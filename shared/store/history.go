package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// History is all that is stored about one request, for people who ask what became of it.
type History struct {
	Request    *RequestHistory   // nil if there is no document
	Answer     keypackage.Answer // its claims by owner
	Deliveries []DeliveryHistory // those that the claims name, and those that the request has created; oldest first
}

// RequestHistory is the request's document.
type RequestHistory struct {
	keypackage.RequestDocument
	Stored  time.Time          // when the document was created
	Open    bool               // it is marked as one without an outcome
	Outcome keypackage.Outcome // the copy of the outcome; "" if there is none yet
}

// DeliveryHistory is a delivery with the documents that decide about its package.
type DeliveryHistory struct {
	keypackage.StoredDelivery
	Unreadable bool               // and then only its names are known
	DeletedAt  time.Time          // of the tombstone; zero if it does not say
	Ledger     *keypackage.Ledger // of the package's bytes; nil if they count as never handed out
}

// History reads all that is stored about a request. Without a transaction: what changes meanwhile may be read half before.
func (s *Store) History(ctx context.Context, requestID string) (h History, err error) {
	if h.Request, err = s.requestHistory(ctx, requestID); err != nil {
		return h, err
	}
	if h.Answer, err = s.Answer(ctx, requestID); err != nil {
		return h, err
	}
	slices.SortFunc(h.Answer.Claims, func(a, b keypackage.Claim) int { return strings.Compare(a.Owner, b.Owner) })
	snaps, err := s.deliveriesOf(ctx, requestID, h.Answer)
	if err != nil {
		return h, err
	}
	for _, snap := range snaps {
		one, err := s.deliveryHistory(ctx, snap)
		if err != nil {
			return h, err
		}
		h.Deliveries = append(h.Deliveries, one)
	}
	slices.SortFunc(h.Deliveries, func(a, b DeliveryHistory) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return h, nil
}

func (s *Store) requestHistory(ctx context.Context, id string) (*RequestHistory, error) {
	snap, err := s.one(ctx, s.requests.Doc(id))
	if err != nil || !snap.Exists() {
		return nil, err
	}
	data := snap.Data()
	request := RequestHistory{RequestDocument: keypackage.ReadRequestDocument(id, data, snap.CreateTime), Stored: snap.CreateTime}
	_, request.Open = data[keypackage.FieldOpen]
	if outcome, ok := data["outcome"].(map[string]any); ok {
		status, _ := outcome["status"].(string)
		request.Outcome = keypackage.Outcome(status)
	}
	return &request, nil
}

// deliveriesOf finds what the request has created by its name, because claims are removed first, and what it has joined by its claims.
func (s *Store) deliveriesOf(ctx context.Context, requestID string, answer keypackage.Answer) ([]*snapshot, error) {
	first, end := keypackage.DeliveryID(requestID, ""), requestID+"`" // the character behind the underscore
	snaps, err := s.deliveries.Where(firestore.DocumentID, ">=", s.deliveries.Doc(first)).
		Where(firestore.DocumentID, "<", s.deliveries.Doc(end)).Documents(ctx).GetAll()
	if err != nil {
		return nil, failed("read the deliveries of a request", err)
	}
	var joined []string
	for _, ref := range answer.Deliveries() {
		if !slices.ContainsFunc(snaps, func(snap *snapshot) bool { return snap.Ref.ID == ref.ID }) {
			joined = append(joined, ref.ID)
		}
	}
	others, err := s.get(ctx, docs(s.deliveries, joined)...)
	return append(snaps, slices.DeleteFunc(others, func(snap *snapshot) bool { return !snap.Exists() })...), err
}

// deliveryHistory reads the tombstone and the ledger entry of a delivery's package as well.
func (s *Store) deliveryHistory(ctx context.Context, snap *snapshot) (h DeliveryHistory, err error) {
	if h.Delivery, err = readDelivery(snap); err != nil {
		h.Delivery, h.Unreadable = keypackage.Delivery{ID: snap.Ref.ID, PackageID: keypackage.PackageOf(snap.Ref.ID)}, true
		return h, nil
	}
	found, err := s.get(ctx, s.tombstone(h.PackageID, h.Owner), s.ledger.Doc(h.Hash))
	if err != nil {
		return h, err
	}
	h.Tombstoned = found[0].Exists()
	h.DeletedAt, _ = found[0].Data()["deleted_at"].(time.Time)
	if found[1].Exists() {
		h.Ledger = &keypackage.Ledger{Hash: found[1].Ref.ID}
		err = decode(found[1], h.Ledger)
	}
	return h, err
}
