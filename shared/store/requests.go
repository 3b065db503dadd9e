package store

import (
	"context"
	"iter"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Marked implements expiring.Store. Whatever stands in a document of the relay can be read as a request, if only as one that
// is rejected.
func (s *Store) Marked(ctx context.Context, before time.Time) iter.Seq2[keypackage.RequestDocument, error] {
	received := s.requests.Where(keypackage.FieldReceivedAt, "<=", before)
	queries := inShards(received, keypackage.FieldOpen, 0, keypackage.FieldReceivedAt)
	return decoded(find(ctx, "read requests without an outcome", queries...), readRequest)
}

func readRequest(snap *firestore.DocumentSnapshot) (keypackage.RequestDocument, error) {
	doc := keypackage.ReadRequestDocument(snap.Ref.ID, snap.Data(), snap.CreateTime)
	doc.Version = snap.UpdateTime
	return doc, nil
}

// Unmark implements expiring.Store.
func (s *Store) Unmark(ctx context.Context, doc keypackage.RequestDocument, claimIDs []string) error {
	t := s.begin()
	for _, id := range claimIDs {
		t.require(s.claims.Doc(id), missing)
	}
	t.update(s.requests.Doc(doc.ID), doc.Version, unmarked(doc.KeepUntil()))
	return t.run(ctx, "remove the mark of a request")
}

// unmarked is what is written when a request needs to be found no more.
func unmarked(keepUntil time.Time) []firestore.Update {
	return []firestore.Update{
		{Path: keypackage.FieldOpen, Value: firestore.Delete}, {Path: keypackage.FieldKeepUntil, Value: keepUntil},
	}
}
