package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// least is the least that the promises need: the request is stored; one query reads the package that goes and the one that
// remains (I2); one commit creates the claim (I4) and the delivery, begun (I5), and deletes the package (I1); a frame; the result
// is recorded (I3). Nothing is read twice, verified, limited or authenticated, and all of it is one process.
type least struct {
	db                *database
	relay, requesters []net.Conn // the two ends of each requester's connection
	owners            []string
	asked             atomic.Int64
}

func newLeast(ctx context.Context, requesters int) (*least, error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	l := &least{db: db}
	for range requesters {
		requester, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return nil, err
		}
		relay, err := listener.Accept()
		if err != nil {
			return nil, err
		}
		l.relay, l.requesters = append(l.relay, relay), append(l.requesters, requester)
	}
	return l, nil
}

func (l *least) close(ctx context.Context) {
	l.db.drop(ctx)
	for i := range l.relay {
		_, _ = l.relay[i].Close(), l.requesters[i].Close()
	}
}

// restock implements design.
func (l *least) restock(ctx context.Context, requests int) (err error) {
	l.owners, err = l.db.restock(ctx, requests)
	return err
}

// request implements design.
func (l *least) request(ctx context.Context, requester int) (journey, error) {
	return l.serve(ctx, requester, keypackage.StateSending, func(*firestore.DocumentRef) error { return nil })
}

// serve stores a request, claims a package for it and sends that when it is its turn.
func (l *least) serve(
	ctx context.Context, requester int, state keypackage.State, turn func(*firestore.DocumentRef) error,
) (j journey, err error) {
	id, names := newID(), l.db.Collections
	j.sent = time.Now()
	document := map[string]any{"event": id, "kind": keypackage.KindRequest, "received_at": j.sent}
	if _, err := l.db.in(names.Requests, id).Create(ctx, document); err != nil {
		return j, err
	}
	j.claiming = time.Now()
	owner := l.owners[int(l.asked.Add(1))%len(l.owners)]
	stock, err := l.db.client.Collection(names.KeyPackages).Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).Limit(2).Documents(ctx).GetAll()
	if err != nil || len(stock) < 2 {
		return j, errors.Join(err, errors.New("no stock"))
	}
	// Deprecated in favour of transactions, which take two more round trips: the least is one atomic commit.
	//lint:ignore SA1019 see above
	batch, delivery := l.db.client.Batch(), l.db.in(names.Deliveries, id)
	batch.Create(l.db.in(names.Claims, id), map[string]any{"request_event_id": id})
	batch.Create(delivery, map[string]any{"state": state, "package": stock[0].Data()})
	batch.Delete(stock[0].Ref)
	if _, err := batch.Commit(ctx); err != nil {
		return j, err
	}
	if err := turn(delivery); err != nil {
		return j, err
	}
	frame := fmt.Append(nil, stock[0].Data()[keypackage.FieldEvent])
	if _, err := l.relay[requester].Write(frame); err != nil {
		return j, err
	}
	if _, err := io.ReadFull(l.requesters[requester], frame); err != nil {
		return j, err
	}
	j.arrived = time.Now()
	_, err = delivery.Update(ctx, []firestore.Update{{Path: "state", Value: keypackage.StateDelivered}})
	return j, err
}

// pollInterval is that of the design which this system replaces.
const pollInterval = time.Second

// polling is that design: a trigger claims, and every second a processor reads all pending deliveries and sends them. It is
// given more than it has: the least of claims, without a trigger, and nobody looks up who is connected. For one request at a
// time, which then waits for the processor itself.
type polling struct{ *least }

// request implements design. It is made at a moment that has nothing to do with the last poll's: whoever asks as soon as one
// poll has answered always waits for the whole interval.
func (p polling) request(ctx context.Context, requester int) (journey, error) {
	time.Sleep(rand.N(pollInterval))
	return p.serve(ctx, requester, keypackage.StatePending, func(delivery *firestore.DocumentRef) error {
		time.Sleep(time.Until(time.Now().Truncate(pollInterval).Add(pollInterval)))
		pending, err := delivery.Parent.Where("state", "==", keypackage.StatePending).Documents(ctx).GetAll()
		if err != nil || len(pending) != 1 {
			return fmt.Errorf("%d deliveries are pending: %w", len(pending), err)
		}
		return nil
	})
}
