package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// concurrency measures one instance of each event function, built as it is deployed, with more and more requests at a time.
// It is where the setting of the deployment comes from.
func (b *bench) concurrency(ctx context.Context) error {
	executable, err := b.executable(ctx)
	if err != nil {
		return err
	}
	endpoint := httptest.NewServer(http.HandlerFunc(deliverAll))
	defer endpoint.Close()
	t := b.report.table("concurrency", "One instance of an event function, by the requests that it works on at a time",
		"claims/s", "p50 ms", "p99 ms", "resident MB", "pushes/s", "p50 ms", "p99 ms", "resident MB")
	t.note("Different owners and requesters, so that nothing can be combined. The relay answers at once. The emulator takes most of")
	t.note("the CPU; what the table is for is where more at a time stops to help, and what it costs in memory.")
	for _, n := range b.sizes.concurrencies {
		b.progress("one instance, %d requests at a time", n)
		db, requests, err := b.requestsToClaim(ctx)
		if err != nil {
			return err
		}
		events := make([][]byte, len(requests))
		for i, request := range requests {
			events[i] = eventOf(db, request)
		}
		claims, err := b.saturate(ctx, executable, suite.Claim, db, nil, eventHeader(), events, n)
		if err != nil {
			return err
		}
		pushes, err := db.pushBodies(ctx)
		if err != nil {
			return err
		}
		settings := map[string]string{config.RelayDeliveryURL: endpoint.URL + relayapi.Path, "RELAY_AUDIENCE": "none"}
		delivered, err := b.saturate(ctx, executable, suite.Deliver, db, settings, nil, pushes, n)
		if err != nil {
			return err
		}
		t.add(fmt.Sprintf("%d at a time", n), append(claims, delivered...)...)
		db.drop(ctx)
	}
	return nil
}

// saturate starts an instance and has it answer all calls, n at a time. It returns a row: answers a second, p50 and p99 of
// the time that each took, and the memory that the instance holds then.
func (b *bench) saturate(
	ctx context.Context, executable, entryPoint string, db *database, settings map[string]string, header http.Header, calls [][]byte, n int,
) (row []float64, err error) {
	f, err := b.serve(ctx, executable, entryPoint, db, settings)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	if err := f.awaitListening(ctx); err != nil {
		return nil, err
	}
	if _, err := f.call(ctx, header, calls[0]); err != nil { // builds the clients
		return nil, err
	}
	calls = calls[1:]
	each := make(sample, len(calls))
	var group errgroup.Group
	group.SetLimit(n)
	settle()
	took, err := timed(func() error {
		for i, call := range calls {
			group.Go(func() (err error) {
				each[i], err = timed(func() error { _, err := f.call(ctx, header, call); return err })
				return err
			})
		}
		return group.Wait()
	})
	return []float64{float64(len(calls)) / took.Seconds(), each.quantile(0.5), each.quantile(0.99), f.memory("VmRSS")}, err
}

// requestsToClaim prepares requests of different requesters for different owners.
func (b *bench) requestsToClaim(ctx context.Context) (*database, []keypackage.RequestDocument, error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := db.createTopic(ctx); err != nil {
		return nil, nil, err
	}
	owners, err := db.newOwners(ctx, b.sizes.concurrent, packagesPerOwner)
	if err != nil {
		return nil, nil, err
	}
	requests, err := db.newRequests(ctx, b.sizes.concurrent, owners)
	return db, requests, err
}

// pushBodies returns the messages for all pending deliveries, as Pub/Sub pushes them.
func (db *database) pushBodies(ctx context.Context) ([][]byte, error) {
	snaps, err := db.client.Collection(db.Collections.Deliveries).Documents(ctx).GetAll()
	if err != nil {
		return nil, err
	}
	bodies := make([][]byte, len(snaps))
	for i, snap := range snaps {
		var d keypackage.Delivery
		if err := snap.DataTo(&d); err != nil {
			return nil, err
		}
		data, err := json.Marshal(map[string]any{
			"request_event_id": d.RequestID, "granted": map[string][]string{d.Owner: {d.PackageID}},
		})
		if err != nil {
			return nil, err
		}
		if bodies[i], err = json.Marshal(map[string]any{"message": map[string]any{"data": data}}); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// deliverAll is a relay's endpoint that delivers everything.
func deliverAll(w http.ResponseWriter, r *http.Request) {
	var push relayapi.DeliveryRequest
	if err := json.NewDecoder(r.Body).Decode(&push); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response := relayapi.DeliveryResponse{Results: []relayapi.Result{}}
	for _, d := range push.Deliveries {
		response.Results = append(response.Results, relayapi.Result{ID: d.ID, Status: relayapi.Delivered})
	}
	_ = json.NewEncoder(w).Encode(response) // whoever asked has gone
}
