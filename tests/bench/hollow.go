package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/cloud"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Names of what the hollow path has for itself.
const (
	hollowTopic    = "bench-hollow"
	hollowRequests = "bench_hollow_requests"
	hollowState    = "bench_hollow_state"
)

// hollow is the floor: the hops of a request with nothing in them. A document is created, the trigger fires, as many
// documents are read and written in as many steps as a claim does, a message goes through Pub/Sub, as many documents are
// read and written as a push does, one HTTP POST, one websocket frame. No event is verified, no rule is applied, nothing is
// authenticated, and all of it is one process.
type hollow struct {
	db        *database
	stamps    *stamps
	hops      *hops
	publisher *topic.Publisher
	relay     *hollowRelay
	owners    []string
	sample    map[string]any // as large as a package's document
	undo      []func()

	mu        sync.Mutex
	requester map[string]int // by request id
}

// hops collects how long each step of the hollow path takes.
type hops struct {
	mu    sync.Mutex
	steps map[string]sample
}

func (h *hops) add(step string, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps[step] = append(h.steps[step], d)
}

func (h *hops) time(step string, f func() error) error {
	d, err := timed(f)
	h.add(step, d)
	return err
}

func (b *bench) newHollow(ctx context.Context, requesters int) (*hollow, error) {
	db, err := newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	h := &hollow{
		db: db, stamps: newStamps(), hops: &hops{steps: make(map[string]sample)}, requester: make(map[string]int),
	}
	h.undo = append(h.undo, func() { _ = db.client.Close() })
	if err := h.listen(ctx, b, requesters); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// restock implements design.
func (h *hollow) restock(ctx context.Context, requests int) (err error) {
	if h.owners, err = h.db.restock(ctx, requests); err != nil {
		return err
	}
	snaps, err := h.db.client.Collection(h.db.Collections.KeyPackages).Limit(1).Documents(ctx).GetAll()
	if err == nil {
		h.sample = snaps[0].Data()
	}
	return err
}

// listen connects the hops: trigger, topic and push as the suite has them, without the doors.
func (h *hollow) listen(ctx context.Context, b *bench, requesters int) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.relay = newHollowRelay()
	mux := http.NewServeMux()
	mux.HandleFunc("/claim/", h.claim)
	mux.HandleFunc("/deliver/", h.deliver)
	mux.HandleFunc("/relay/post", h.relay.post)
	mux.HandleFunc("/relay/socket", h.relay.socket)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	h.undo = append(h.undo, func() { _ = server.Close() })

	url, quiet := "http://"+listener.Addr().String(), slog.New(slog.DiscardHandler)
	caller := func(name string) cloud.Caller { return cloud.Caller{Minter: nobody{}, URL: url + name} }
	trigger := emulators.Trigger{ID: "hollow", Project: h.db.Project, Database: h.db.Database, Document: hollowRequests + "/{id}"}
	eventarc := cloud.NewEventarc(caller("/claim"), quiet)
	h.undo = append(h.undo, func() { b.suite.Emulators().Forget(trigger); eventarc.Stop() })
	mux.Handle("/push/", cloud.NewPush(caller("/deliver"), quiet))
	if h.publisher, err = topic.NewPublisher(ctx, h.db.Project, hollowTopic); err != nil {
		return err
	}
	return errors.Join(
		b.suite.Emulators().OnCreate(ctx, trigger, eventarc),
		createTopic(ctx, h.db.Project, url+"/push/"),
		h.relay.connect(ctx, "ws://"+listener.Addr().String()+"/relay/socket", url+"/relay/post", requesters))
}

// nobody mints tokens that nobody looks at.
type nobody struct{}

func (nobody) Mint(string, string) (string, error) { return "none", nil }

func createTopic(ctx context.Context, project, endpoint string) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return err
	}
	defer client.Close()
	name := "projects/" + project + "/topics/" + hollowTopic
	if _, err := client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: "projects/" + project + "/subscriptions/" + hollowTopic, Topic: name, AckDeadlineSeconds: 60,
		PushConfig: &pubsubpb.PushConfig{PushEndpoint: endpoint + name},
	})
	return err
}

func (h *hollow) close() {
	for i := len(h.undo) - 1; i >= 0; i-- {
		h.undo[i]()
	}
	h.relay.close()
	if h.publisher != nil {
		_ = h.publisher.Close()
	}
}

// request implements design.
func (h *hollow) request(ctx context.Context, requester int) (journey, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id := newID()
	h.mu.Lock()
	h.requester[id] = requester
	h.mu.Unlock()
	document := map[string]any{"event": h.sample["event"], "kind": 447, "received_at": time.Now()}
	err := h.hops.time("document created", func() error {
		_, err := h.db.client.Collection(hollowRequests).Doc(id).Create(ctx, document)
		return err
	})
	accepted := time.Now()
	if err != nil {
		return journey{}, err
	}
	select {
	case arrived := <-h.relay.arrivals[requester]:
		j := h.stamps.take(id, accepted, arrived)
		h.hops.add("trigger", j.trigger())
		h.hops.add("message", j.message())
		h.hops.add("frame", arrived.Sub(h.relay.frameBegan(requester)))
		return j, nil
	case <-ctx.Done():
		return journey{}, fmt.Errorf("hollow path: %w", context.Cause(ctx))
	}
}

func newID() string {
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// claim takes the event.
func (h *hollow) claim(w http.ResponseWriter, r *http.Request) {
	id := path.Base(r.Header.Get("Ce-Document"))
	h.stamps.claiming(id, time.Now())
	_, _ = io.Copy(io.Discard, r.Body)
	ctx := r.Context()
	err := h.hops.time("claim's reads and writes", func() error { return h.readAndClaim(ctx, id) })
	if err == nil {
		err = h.hops.time("message published, outcome noted", func() error { return h.announce(ctx, id) })
	}
	answer(w, err)
}

// deliver takes the message.
func (h *hollow) deliver(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, _ := io.ReadAll(r.Body)
	id, published := readPush(body)
	h.stamps.pushed(id, published, at)
	h.mu.Lock()
	requester := h.requester[id]
	h.mu.Unlock()
	ctx := r.Context()
	version, err := time.Time{}, error(nil)
	err = h.hops.time("push's reads and writes", func() error {
		version, err = h.readAndBegin(ctx, id)
		return err
	})
	if err == nil {
		err = h.hops.time("POST with a frame in it", func() error { return h.relay.call(ctx, requester, h.sample["event"]) })
	}
	if err == nil {
		err = h.hops.time("result recorded", func() error { return h.record(ctx, id, version) })
	}
	answer(w, err)
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *hollow) doc(kind, id string) *firestore.DocumentRef {
	return h.db.client.Collection(hollowState).Doc(kind + "_" + id)
}
