package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// system is what is measured: a suite's gateway and functions, and requesters on real websockets.
type system struct {
	stocked
	suite      *suite.Suite
	requesters []*actors.Requester
	received   []int // packages of each requester so far
}

// newSystem starts one whose requests are served by functions or by its gateway. The suite must be stopped by close.
func (b *bench) newSystem(ctx context.Context, servedBy config.ServedBy, requesters int) (s *system, err error) {
	s = &system{received: make([]int, requesters)}
	env := maps.Clone(raisedLimits)
	env["FIRESTORE_EMULATOR_HOST"] = b.wire.Addr().String()
	s.suite, err = suite.Start(ctx, suite.Options{
		Emulators: b.emulators, FunctionEnv: env, TickEvery: time.Minute, // as in the cloud
		RequestsServedBy: servedBy, Progress: command.Progress,
	})
	if err != nil {
		return nil, err
	}
	for range requesters {
		s.requesters = append(s.requesters, actors.NewRequester(s.suite.Addresses().Relay, actors.NewKey()))
	}
	s.db, err = b.openDatabase(ctx, s.suite.Config().Project)
	if err != nil {
		return nil, errors.Join(err, s.suite.Stop())
	}
	return s, nil
}

// restock implements design. It opens the sessions anew, so that none comes to the limits that the gateway sets to one.
func (s *system) restock(ctx context.Context, requests int) error {
	if err := s.stocked.restock(ctx, requests); err != nil {
		return err
	}
	for _, r := range s.requesters {
		if err := errors.Join(r.Connect(ctx), r.Listen(ctx)); err != nil { // to all owners
			return err
		}
	}
	return nil
}

func (s *system) close() {
	for _, r := range s.requesters {
		r.Disconnect()
	}
	_, _ = s.db.client.Close(), s.suite.Stop()
}

// request implements design. A requester waits for one package at a time, so the next that arrives is the one.
func (s *system) request(ctx context.Context, requester int) (time.Duration, error) {
	r := s.requesters[requester]
	event := actors.NewRequest(actors.Question{Owners: []string{s.owner()}})
	if err := r.Sign(event); err != nil {
		return 0, err
	}
	took, err := await(ctx, r, s.received[requester]+1, func() error { return r.Publish(ctx, event) })
	s.received[requester]++
	return took, err
}

// subscribing asks a system by REQ, as somebody new each time, because the same requester would be given the same package.
type subscribing struct{ *system }

// request implements design.
func (s subscribing) request(ctx context.Context, _ int) (time.Duration, error) {
	r := actors.NewRequester(s.suite.Addresses().Relay, actors.NewKey())
	if err := r.Connect(ctx); err != nil {
		return 0, err
	}
	defer r.Disconnect()
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{s.owner()}}
	return await(ctx, r, 1, func() error { return r.Subscribe(ctx, "package", filter) })
}

// await returns how long it takes from the asking until the nth package of the requester arrives.
func await(ctx context.Context, r *actors.Requester, n int, ask func() error) (time.Duration, error) {
	sent := time.Now()
	if err := ask(); err != nil {
		return 0, err
	}
	received, err := r.AwaitKeyPackages(ctx, n)
	if err != nil {
		return 0, err
	}
	return received[n-1].At.Sub(sent), nil
}

// least is the least that the promises need: the request is stored; one query reads the package that goes and the one that
// remains (I2); one commit creates the claim (I4) and the delivery, begun (I5), and deletes the package (I1); the result is
// recorded (I3). Nothing is read twice, verified, limited or authenticated, all of it is one process, and no frame is sent.
//
// The design that polls is the one that this system replaces: a trigger claims, and every second a processor sends all pending
// deliveries. It is given more than it has: the least of claims, no trigger, and nobody looks up who is connected. For one
// request at a time, which then waits for the processor itself.
type least struct {
	*stocked
	polls bool
}

const pollInterval = time.Second

// request implements design.
func (l least) request(ctx context.Context, _ int) (took time.Duration, err error) {
	state := keypackage.StateSending
	if l.polls {
		state = keypackage.StatePending
		time.Sleep(mathrand.N(pollInterval)) // whoever asks as soon as one poll has answered always waits for the whole interval
	}
	id, names, owner, sent := rand.Text(), l.db.Collections, l.owner(), time.Now()
	document := map[string]any{"event": id, "kind": keypackage.KindRequest, "received_at": sent}
	if _, err := l.db.in(names.Requests, id).Create(ctx, document); err != nil {
		return 0, err
	}
	oldest := l.db.client.Collection(names.KeyPackages).Where(keypackage.FieldOwner, "==", owner).
		OrderBy(keypackage.FieldCreatedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc)
	stock, err := oldest.Limit(2).Documents(ctx).GetAll()
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
	if l.polls {
		time.Sleep(time.Until(time.Now().Truncate(pollInterval).Add(pollInterval)))
		pending, err := delivery.Parent.Where("state", "==", state).Documents(ctx).GetAll()
		if err != nil || len(pending) != 1 {
			return 0, fmt.Errorf("%d deliveries are pending: %w", len(pending), err)
		}
	}
	took = time.Since(sent)
	_, err = delivery.Update(ctx, []firestore.Update{{Path: "state", Value: keypackage.StateDelivered}})
	return took, err
}
