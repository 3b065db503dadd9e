package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// least is the least that the promises need: the request is stored; one query reads the package that goes and the one that
// remains (I2); one commit creates the claim (I4) and the delivery, begun (I5), and deletes the package (I1); the result is
// recorded (I3). Nothing is read twice, verified, limited or authenticated, all of it is one process, and no frame is sent.
type least struct{ stocked }

// request implements design.
func (l *least) request(ctx context.Context, _ int) (time.Duration, error) {
	return l.serve(ctx, keypackage.StateSending, func(*firestore.DocumentRef) error { return nil })
}

// serve stores a request and claims a package for it, which leaves when it is its turn.
func (l *least) serve(
	ctx context.Context, state keypackage.State, turn func(*firestore.DocumentRef) error,
) (took time.Duration, err error) {
	id, names, owner, sent := rand.Text(), l.db.Collections, l.owner(), time.Now()
	document := map[string]any{"event": id, "kind": keypackage.KindRequest, "received_at": sent}
	if _, err := l.db.in(names.Requests, id).Create(ctx, document); err != nil {
		return 0, err
	}
	stock, err := l.db.client.Collection(names.KeyPackages).Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).Limit(2).Documents(ctx).GetAll()
	if err != nil || len(stock) < 2 {
		return 0, errors.Join(err, errors.New("no stock"))
	}
	// Deprecated in favour of transactions, which take two more round trips: the least is one atomic commit.
	//lint:ignore SA1019 see above
	batch, delivery := l.db.client.Batch(), l.db.in(names.Deliveries, id)
	batch.Create(l.db.in(names.Claims, id), map[string]any{"request_event_id": id})
	batch.Create(delivery, map[string]any{"state": state, "package": stock[0].Data()})
	batch.Delete(stock[0].Ref)
	if _, err := batch.Commit(ctx); err != nil {
		return 0, err
	}
	if err := turn(delivery); err != nil {
		return 0, err
	}
	took = time.Since(sent)
	_, err = delivery.Update(ctx, []firestore.Update{{Path: "state", Value: keypackage.StateDelivered}})
	return took, err
}

// pollInterval is that of the design which this system replaces.
const pollInterval = time.Second

// polling is that design: a trigger claims, and every second a processor reads all pending deliveries and sends them. It is
// given more than it has: the least of claims, without a trigger, and nobody looks up who is connected. For one request at a
// time, which then waits for the processor itself.
type polling struct{ *least }

// request implements design. It is made at a moment that has nothing to do with the last poll's: whoever asks as soon as one
// poll has answered always waits for the whole interval.
func (p polling) request(ctx context.Context, _ int) (time.Duration, error) {
	time.Sleep(mathrand.N(pollInterval))
	return p.serve(ctx, keypackage.StatePending, func(delivery *firestore.DocumentRef) error {
		time.Sleep(time.Until(time.Now().Truncate(pollInterval).Add(pollInterval)))
		pending, err := delivery.Parent.Where("state", "==", keypackage.StatePending).Documents(ctx).GetAll()
		if err != nil || len(pending) != 1 {
			return fmt.Errorf("%d deliveries are pending: %w", len(pending), err)
		}
		return nil
	})
}
