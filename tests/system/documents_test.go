package system

import (
	"slices"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// fields are a document's.
type fields map[string]any

// read returns a document, or nil if there is none.
func (s *world) read(collection, id string) fields {
	s.t.Helper()
	snap, err := s.firestore.Collection(collection).Doc(id).Get(s.ctx)
	if status.Code(err) == codes.NotFound {
		return nil
	}
	s.must(err)
	return snap.Data()
}

func (s *world) create(collection, id string, document fields) {
	s.t.Helper()
	_, err := s.firestore.Collection(collection).Doc(id).Create(s.ctx, map[string]any(document))
	s.must(err)
}

// keep stores KeyPackages as a relay does that checks nothing.
func (s *world) keep(events ...*nostr.Event) {
	s.t.Helper()
	for _, event := range events {
		document := fields{
			keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
			keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldEvent: event.String(),
		}
		if suite := event.Tags.Find("mls_ciphersuite"); suite != nil {
			document[keypackage.FieldCiphersuite] = suite[1]
		}
		s.create(s.names.KeyPackages, event.ID, document)
	}
}

func (s *world) remove(collection, id string) {
	s.t.Helper()
	_, err := s.firestore.Collection(collection).Doc(id).Delete(s.ctx)
	s.must(err)
}

func find[T any](s *world, query firestore.Query) []T {
	s.t.Helper()
	snaps, err := query.Documents(s.ctx).GetAll()
	s.must(err)
	found := make([]T, len(snaps))
	for i, snap := range snaps {
		s.must(snap.DataTo(&found[i]))
	}
	return found
}

// claims returns the claims of a request, or its dismissal.
func (s *world) claims(request string) []keypackage.Claim {
	s.t.Helper()
	return find[keypackage.Claim](s, s.firestore.Collection(s.names.Claims).Where("request_event_id", "==", request))
}

// answer returns the answer to a request.
func (s *world) answer(request string) keypackage.Answer {
	s.t.Helper()
	snaps, err := s.firestore.Collection(s.names.Claims).Where("request_event_id", "==", request).Documents(s.ctx).GetAll()
	s.must(err)
	answers, err := store.DecodeAnswers(snaps)
	s.must(err)
	return answers[request]
}

// answered waits until a request has its outcome and compares it.
func (s *world) answered(request string, want keypackage.Outcome) {
	s.t.Helper()
	var answer keypackage.Answer
	s.eventually("the answer to "+request, func() bool {
		answer = s.answer(request)
		return answer.Complete()
	})
	if outcome := answer.Outcome(); outcome != want {
		s.t.Errorf("the outcome is %q, want %q", outcome, want)
	}
}

// deliveries returns what is or was on its way for a request, what it joined included.
func (s *world) deliveries(request string) []keypackage.Delivery {
	s.t.Helper()
	return find[keypackage.Delivery](s,
		s.firestore.Collection(s.names.Deliveries).Where("request_ids", "array-contains", request))
}

// reach waits until a request has n deliveries that are all as wanted.
func (s *world) reach(request string, n int, wanted func(keypackage.Delivery) bool) []keypackage.Delivery {
	s.t.Helper()
	var deliveries []keypackage.Delivery
	s.eventually("the deliveries of "+request, func() bool {
		deliveries = s.deliveries(request)
		return len(deliveries) == n && !slices.ContainsFunc(deliveries, func(d keypackage.Delivery) bool { return !wanted(d) })
	})
	return deliveries
}

func delivered(d keypackage.Delivery) bool { return d.State == keypackage.StateDelivered }

func expired(d keypackage.Delivery) bool { return d.State == keypackage.StateExpired }

// waiting returns what a delivery looks like that was pushed with this result and may be pushed again.
func waiting(result keypackage.PushResult) func(keypackage.Delivery) bool {
	return func(d keypackage.Delivery) bool { return d.State == keypackage.StatePending && d.LastResult == result }
}

// left fails unless the owner's stock is these KeyPackages.
func (s *world) left(owner actors.Key, want ...*nostr.Event) {
	s.t.Helper()
	var stock []string
	for _, p := range find[keypackage.Document](s,
		s.firestore.Collection(s.names.KeyPackages).Where(keypackage.FieldOwner, "==", owner.Pubkey)) {
		stock = append(stock, p.Text(keypackage.FieldEventID))
	}
	wanted := ids(want)
	slices.Sort(stock)
	slices.Sort(wanted)
	if !slices.Equal(stock, wanted) {
		s.t.Errorf("the owner has %v left, want %v", stock, wanted)
	}
}

// claimed returns what the ledger knows of an owner.
func (s *world) claimed(owner actors.Key) []keypackage.Ledger {
	s.t.Helper()
	return find[keypackage.Ledger](s, s.firestore.Collection(s.names.Ledger).Where("owner_pubkey", "==", owner.Pubkey))
}
