package store

import (
	"context"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// sweepDocument lives beside the records. No record can have its name: theirs hold the id of a request and an underscore
// behind it.
const sweepDocument = "sweep"

// Sweep implements expiring.Store.
func (s *Store) Sweep(ctx context.Context) (expiring.Sweep, error) {
	snaps, err := s.get(ctx, []*firestore.DocumentRef{s.claims.Doc(sweepDocument)})
	if err != nil {
		return expiring.Sweep{}, err
	}
	var sweep expiring.Sweep
	err = decode(snaps[0], &sweep)
	sweep.Version = version(snaps[0])
	return sweep, err
}

// SaveSweep implements expiring.Store.
func (s *Store) SaveSweep(ctx context.Context, sweep expiring.Sweep) error {
	t := s.begin()
	t.createOrUpdate(s.claims.Doc(sweepDocument), sweep.Version, sweep, []firestore.Update{
		{Path: "cursor", Value: sweep.Cursor}, {Path: "off", Value: sweep.Off}, {Path: "off_now", Value: sweep.OffNow},
	})
	_, err := t.commit(ctx, "save the walk through the requests")
	return err
}

// Requests implements expiring.Store.
func (s *Store) Requests(
	ctx context.Context, from, to time.Time, after *keypackage.RequestDocument, limit int,
) ([]keypackage.RequestDocument, error) {
	query := s.requests.Where(keypackage.FieldReceivedAt, ">", from).Where(keypackage.FieldReceivedAt, "<=", to).
		OrderBy(keypackage.FieldReceivedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).Limit(limit)
	if after != nil {
		query = query.StartAfter(after.ReceivedAt, after.ID)
	}
	snaps, err := query.Documents(ctx).GetAll()
	if err != nil {
		return nil, failed("read requests by their receipt", err)
	}
	docs := make([]keypackage.RequestDocument, len(snaps))
	for i, snap := range snaps {
		docs[i] = keypackage.ReadRequestDocument(snap.Ref.ID, snap.Data(), snap.CreateTime)
	}
	return docs, nil
}
