package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/coder/websocket"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/cloud"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Names of what the baseline has for itself.
const (
	baselineTopic       = "bench-baseline"
	baselineRequests    = "bench_baseline_requests"
	untriggeredRequests = "bench_untriggered_requests"
)

// baseline is the least that the promises need, on the same hops: the request is stored and triggers; one query reads the
// package that goes and the one that remains (I2); one commit creates the claim (I4) and the delivery, begun (I5), and
// deletes the package (I1); a message, a push, one POST, one frame; the result is recorded (I3). Nothing is read twice,
// verified, limited or authenticated, what the second half needs the first has kept for it, and all of it is one process.
type baseline struct {
	db        *database
	stamps    *stamps
	publisher *topic.Publisher
	frames    frames
	owners    []string
	undo      []func()

	mu       sync.Mutex
	requests map[string]*leastRequest // by id
}

type leastRequest struct {
	owner   string
	state   keypackage.State // of its delivery: sending, or pending for a poll
	frame   []byte           // its id and the package
	arrived chan time.Time   // one
}

func (b *bench) newBaseline(ctx context.Context) (*baseline, error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	l := &baseline{db: db, stamps: newStamps(), requests: make(map[string]*leastRequest)}
	l.undo = append(l.undo, func() { db.drop(context.WithoutCancel(ctx)) })
	if err := l.connect(ctx, b); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// connect connects the hops: trigger, topic and push as the suite has them, without authentication.
func (l *baseline) connect(ctx context.Context, b *bench) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	url, quiet, mux := "http://"+listener.Addr().String(), slog.New(slog.DiscardHandler), http.NewServeMux()
	l.frames = frames{endpoint: url + "/post", arrived: l.arrived, relay: make(chan *websocket.Conn, 1)}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	life, end := context.WithCancel(ctx)
	l.undo = append(l.undo, func() { _ = server.Close() }, end)
	caller := func(name string) cloud.Caller { return cloud.Caller{Minter: nobody{}, URL: url + name} }
	trigger := emulators.Trigger{ID: "baseline", Project: l.db.Project, Database: l.db.Database, Document: baselineRequests + "/{id}"}
	eventarc := cloud.NewEventarc(caller("/claim"), quiet)
	l.undo = append(l.undo, func() { b.suite.Emulators().Forget(trigger); eventarc.Stop() })
	mux.HandleFunc("/claim/", l.claim)
	mux.HandleFunc("/deliver/", l.deliver)
	mux.HandleFunc("/post", l.frames.post)
	mux.HandleFunc("/socket", l.frames.socket)
	mux.Handle("/push/", cloud.NewPush(caller("/deliver"), quiet))
	go func() { _ = server.Serve(listener) }()
	if l.publisher, err = topic.NewPublisher(ctx, l.db.Project, baselineTopic); err != nil {
		return err
	}
	l.undo = append(l.undo, func() { _ = l.publisher.Close() })
	return errors.Join(
		b.suite.Emulators().OnCreate(ctx, trigger, eventarc),
		createTopic(ctx, l.db.Project, baselineTopic, url+"/push/"),
		l.frames.connect(life, "ws://"+listener.Addr().String()+"/socket"))
}

// nobody mints tokens that nobody looks at.
type nobody struct{}

func (nobody) Mint(string, string) (string, error) { return "none", nil }

// createTopic creates a topic and a subscription that pushes to the endpoint.
func createTopic(ctx context.Context, project, id, endpoint string) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return err
	}
	defer client.Close()
	name := "projects/" + project + "/topics/" + id
	if _, err := client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
		return err
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: "projects/" + project + "/subscriptions/" + id, Topic: name, AckDeadlineSeconds: 60,
		PushConfig: &pubsubpb.PushConfig{PushEndpoint: endpoint + name},
	})
	return err
}

func (l *baseline) close() {
	for _, undo := range slices.Backward(l.undo) {
		undo()
	}
}

// restock implements design.
func (l *baseline) restock(ctx context.Context, requests int) (err error) {
	l.owners, err = l.db.restock(ctx, requests)
	return err
}

// request implements design.
func (l *baseline) request(ctx context.Context, _ int) (journey, error) {
	id, sent, err := l.store(ctx, baselineRequests, keypackage.StateSending)
	return l.await(ctx, id, sent, err)
}

// store stores a request and returns its id and when that began.
func (l *baseline) store(ctx context.Context, collection string, state keypackage.State) (id string, sent time.Time, err error) {
	id = newID()
	l.mu.Lock()
	owner := l.owners[len(l.requests)%len(l.owners)]
	l.requests[id] = &leastRequest{owner: owner, state: state, arrived: make(chan time.Time, 1)}
	l.mu.Unlock()
	sent = time.Now()
	document := map[string]any{"event": id, "kind": keypackage.KindRequest, "received_at": sent}
	_, err = l.db.client.Collection(collection).Doc(id).Create(ctx, document)
	return id, sent, err
}

// await waits for the frame of a request, unless there was an error.
func (l *baseline) await(ctx context.Context, id string, sent time.Time, err error) (journey, error) {
	if err != nil {
		return journey{}, fmt.Errorf("baseline: %w", err)
	}
	select {
	case arrived := <-l.find(id).arrived:
		return l.stamps.take(id, sent, arrived), nil
	case <-ctx.Done():
		return journey{}, fmt.Errorf("baseline: %w", context.Cause(ctx))
	}
}

// arrived is told of every frame; a message that came twice brings a second one.
func (l *baseline) arrived(frame []byte, at time.Time) {
	select {
	case l.find(string(frame[:idLength])).arrived <- at:
	default:
	}
}

func (l *baseline) find(id string) *leastRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests[id]
}

// claim takes the event.
func (l *baseline) claim(w http.ResponseWriter, r *http.Request) {
	id := path.Base(r.Header.Get("Ce-Document"))
	l.stamps.claiming(id, time.Now())
	_, _ = io.Copy(io.Discard, r.Body)
	err := l.claimLeast(r.Context(), id)
	if err == nil && l.find(id).state != keypackage.StatePending {
		err = l.publisher.PublishRequest(r.Context(), keypackage.Announcement{RequestID: id})
	}
	answer(w, err)
}

func (l *baseline) claimLeast(ctx context.Context, id string) error {
	request := l.find(id)
	stock, err := l.db.oldest(request.owner, 2).Documents(ctx).GetAll()
	if err != nil || len(stock) < 2 {
		return errors.Join(err, errors.New("no stock"))
	}
	text, _ := stock[0].Data()[keypackage.FieldEvent].(string)
	request.frame = []byte(id + text)
	// Deprecated in favour of transactions, which take two more round trips: the least is one atomic commit.
	//lint:ignore SA1019 see above
	batch := l.db.client.Batch()
	batch.Create(l.db.client.Collection(l.db.Collections.Claims).Doc(id), map[string]any{"request_event_id": id})
	batch.Create(l.delivery(id), map[string]any{"state": request.state, "package": stock[0].Data()})
	batch.Delete(stock[0].Ref)
	_, err = batch.Commit(ctx)
	return err
}

func (l *baseline) delivery(id string) *firestore.DocumentRef {
	return l.db.client.Collection(l.db.Collections.Deliveries).Doc(id)
}

// deliver takes the message.
func (l *baseline) deliver(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, _ := io.ReadAll(r.Body)
	id, published := readPush(body)
	l.stamps.pushed(id, published, at)
	answer(w, l.send(r.Context(), id))
}

// send makes the push and records its result.
func (l *baseline) send(ctx context.Context, id string) error {
	if err := l.frames.call(ctx, l.find(id).frame); err != nil {
		return err
	}
	_, err := l.delivery(id).Update(ctx, []firestore.Update{{Path: "state", Value: keypackage.StateDelivered}})
	return err
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
