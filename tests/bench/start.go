package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// start measures the built functions: how fast one starts, and how much memory it takes.
func (b *bench) start(ctx context.Context) error {
	executable, err := b.executable(ctx)
	if err != nil {
		return err
	}
	info, err := os.Stat(executable)
	if err != nil {
		return err
	}
	t := b.report.table("start", "Start and size of the built functions (all three in one binary)", "p50", "max")
	t.note("A cold start ends with the answer to the first request, a real one: clients are built, Firestore and Pub/Sub are")
	t.note("connected to, a package is claimed and its message published. Memory is that of ClaimKeyPackages.")
	f, starts, listens, err := b.coldStarts(ctx, executable)
	if err != nil {
		return err
	}
	defer func() { _ = f.Stop() }()
	t.add("exec until it listens, ms", listens.quantile(0.5), listens.quantile(1))
	t.add("exec until the first answer, ms", starts.quantile(0.5), starts.quantile(1))
	idle := f.memory("VmRSS")
	t.add("resident after the first request, MB", idle, nan)
	b.progress("%d requests", b.sizes.served)
	if err := b.serveMany(ctx, f); err != nil {
		return err
	}
	t.add(fmt.Sprintf("resident after %d requests, MB", b.sizes.served), f.memory("VmRSS"), f.memory("VmHWM"))
	t.add("binary, MB", float64(info.Size())/1e6, nan)
	b.report.atMost("cold start, p50, ms", starts.quantile(0.5), 200)
	b.report.atMost("resident when idle, MB", idle, 64)
	return nil
}

// coldStarts starts the function some times and returns the last process, still running.
func (b *bench) coldStarts(ctx context.Context, executable string) (f *function, starts, listens sample, err error) {
	for i := range b.sizes.coldStarts {
		b.progress("cold start %d", i+1)
		if f != nil {
			_ = f.Stop()
		}
		var cold coldStart
		if f, cold, err = b.coldStart(ctx, executable); err != nil {
			return nil, nil, nil, err
		}
		starts, listens = append(starts, cold.answered), append(listens, cold.listening)
	}
	return f, starts, listens, nil
}

type coldStart struct{ listening, answered time.Duration }

// coldStart starts ClaimKeyPackages and has it answer a request.
func (b *bench) coldStart(ctx context.Context, executable string) (*function, coldStart, error) {
	none := coldStart{}
	db, event, err := requestToClaim(ctx)
	if err != nil {
		return nil, none, err
	}
	begun := time.Now()
	f, err := b.serve(ctx, executable, suite.Claim, db, nil)
	if err != nil {
		return nil, none, err
	}
	if err := f.awaitListening(ctx); err != nil {
		return nil, none, errors.Join(err, f.Stop())
	}
	listening := time.Since(begun)
	if _, err = f.call(ctx, eventHeader(), event); err != nil {
		return nil, none, errors.Join(err, f.Stop())
	}
	return f, coldStart{listening, time.Since(begun)}, nil
}

// awaitListening looks every millisecond.
func (f *function) awaitListening(ctx context.Context) error {
	for {
		conn, err := net.Dial("tcp", f.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-f.Done():
			return f.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// serveMany has the function answer many requests, a few at a time, for owners whose stock is used up on the way.
func (b *bench) serveMany(ctx context.Context, f *function) error {
	db, err := openDatabase(ctx, f.project)
	if err != nil {
		return err
	}
	defer db.client.Close()
	owners, err := db.newOwners(ctx, b.sizes.served/100+1, packagesPerOwner)
	if err != nil {
		return err
	}
	requests, err := db.newRequests(ctx, b.sizes.served, owners)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, request := range requests {
		group.Go(func() error {
			_, err := f.call(ctx, eventHeader(), eventOf(db, request))
			return err
		})
	}
	return group.Wait()
}

// requestToClaim prepares a database, its topic, and one request as the trigger brings it.
func requestToClaim(ctx context.Context) (*database, []byte, error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := db.createTopic(ctx); err != nil {
		return nil, nil, err
	}
	owners, err := db.newOwners(ctx, 1, packagesPerOwner)
	if err != nil {
		return nil, nil, err
	}
	requests, err := db.newRequests(ctx, 1, owners)
	if err != nil {
		return nil, nil, err
	}
	return db, eventOf(db, requests[0]), nil
}

// createTopic creates the delivery topic.
func (db *database) createTopic(ctx context.Context) error {
	client, err := pubsub.NewClient(ctx, db.Project)
	if err != nil {
		return err
	}
	defer client.Close()
	topic := &pubsubpb.Topic{Name: "projects/" + db.Project + "/topics/" + db.DeliveryTopic}
	_, err = client.TopicAdminClient.CreateTopic(ctx, topic)
	return err
}

func eventHeader() http.Header {
	return http.Header{
		"Content-Type": {"application/protobuf"}, "Ce-Specversion": {"1.0"}, "Ce-Id": {newID()},
		"Ce-Type": {"google.cloud.firestore.document.v1.created"}, "Ce-Source": {"//firestore.googleapis.com/bench"},
	}
}

// eventOf is the data of the event for a request's document.
func eventOf(db *database, request keypackage.RequestDocument) []byte {
	text := func(s string) *firestoredata.Value {
		return &firestoredata.Value{ValueType: &firestoredata.Value_StringValue{StringValue: s}}
	}
	data, err := proto.Marshal(&firestoredata.DocumentEventData{Value: &firestoredata.Document{
		Name: fmt.Sprintf("projects/%s/databases/%s/documents/%s/%s", db.Project, db.Database, db.Collections.Requests, request.ID),
		Fields: map[string]*firestoredata.Value{
			keypackage.FieldEvent: text(request.Event),
			keypackage.FieldKind:  {ValueType: &firestoredata.Value_IntegerValue{IntegerValue: keypackage.KindRequest}},
			keypackage.FieldReceivedAt: {ValueType: &firestoredata.Value_TimestampValue{
				TimestampValue: timestamppb.New(request.ReceivedAt),
			}},
		},
		CreateTime: timestamppb.New(request.ReceivedAt),
	}})
	if err != nil {
		panic(fmt.Sprintf("encode an event: %v", err)) // cannot happen
	}
	return data
}
