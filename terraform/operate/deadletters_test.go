package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

var (
	request   = strings.Repeat("ab", 32)
	requester = strings.Repeat("cd", 32)
	pkg       = strings.Repeat("ef", 32)
)

// world is a delivery topic with dead letters, whose push endpoint refuses until it is healed.
type world struct {
	options
	pubsub  *pubsub.Client
	healed  atomic.Bool
	arrived chan topic.Message
}

const dead = "keypackage-deliveries-dead"

func newWorld(t *testing.T) *world {
	t.Helper()
	project := emutest.Project(t)
	lookup := map[string]string{config.Project: project}
	settings, err := config.Load(func(name string) (string, bool) { value, ok := lookup[name]; return value, ok })
	if err != nil {
		t.Fatal(err)
	}
	documents, err := assembly.Store(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	s := &world{options: options{settings: settings, documents: documents, subscription: dead}, arrived: make(chan topic.Message, 10)}
	if s.pubsub, err = pubsub.NewClient(t.Context(), project); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.pubsub.Close() })
	endpoint := httptest.NewServer(http.HandlerFunc(s.push))
	t.Cleanup(endpoint.Close)
	prefix := "projects/" + project
	for _, id := range []string{settings.DeliveryTopic, dead} {
		if _, err := s.pubsub.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: prefix + "/topics/" + id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, subscription := range []*pubsubpb.Subscription{
		{Name: prefix + "/subscriptions/" + dead, Topic: prefix + "/topics/" + dead},
		{
			Name: prefix + "/subscriptions/push", Topic: prefix + "/topics/" + settings.DeliveryTopic,
			PushConfig:       &pubsubpb.PushConfig{PushEndpoint: endpoint.URL},
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: prefix + "/topics/" + dead, MaxDeliveryAttempts: 5},
		},
	} {
		if _, err := s.pubsub.SubscriptionAdminClient.CreateSubscription(t.Context(), subscription); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *world) push(w http.ResponseWriter, r *http.Request) {
	if !s.healed.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	message, err := topic.Decode(r)
	if err != nil {
		message.Request.RequestID = err.Error() // the test will show it
	}
	s.arrived <- message
}

func (s *world) publish(t *testing.T, topicID, data string) {
	t.Helper()
	if _, err := s.pubsub.Publisher(topicID).Publish(t.Context(), &pubsub.Message{Data: []byte(data)}).Get(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// deliver stores a request's record and its delivery, which the relay has never answered.
func (s *world) deliver(t *testing.T) (id string) {
	t.Helper()
	client, err := firestore.NewClient(t.Context(), s.settings.Project)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id = keypackage.DeliveryID(request, pkg)
	record := keypackage.Claim{RequestID: request, Requester: requester, Owner: "owner", DeliveryIDs: []string{id}}
	pending := keypackage.Delivery{
		PackageID: pkg, Requester: requester, Owner: "owner", RequestIDs: []string{request}, Hash: "hash", ExpiresAt: time.Now(),
		Package: keypackage.Document{keypackage.FieldEventID: pkg}, State: keypackage.StatePending, LastResult: keypackage.ResultUnknown,
	}
	for path, document := range map[string]any{
		s.settings.Collections.Claims + "/" + record.ID(): record,
		s.settings.Collections.Deliveries + "/" + id:      pending,
	} {
		if _, err := client.Doc(path).Set(t.Context(), document); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// handle handles dead letters until it has seen n at once, or has replayed n.
func (s *world) handle(t *testing.T, replay bool, n int) []entry {
	t.Helper()
	s.replay = replay
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var seen []entry
	for {
		entries, err := s.list(ctx)
		if err != nil {
			t.Fatalf("%d of %d dead letters: %v", len(seen), n, err)
		}
		if !replay {
			seen = nil
		}
		for _, entry := range entries {
			if entry.Replayed == replay {
				seen = append(seen, entry)
			}
		}
		if len(seen) >= n {
			return seen
		}
	}
}

func TestAMessageThatFailsIsListedAndReplayed(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	stored := s.deliver(t)
	s.publish(t, s.settings.DeliveryTopic, `{"request_event_id":"`+request+`"}`)

	entry := s.handle(t, false, 1)[0]
	if entry.Request != request || entry.Attempts < 5 || entry.Replayed || len(entry.Deliveries) != 1 {
		t.Fatalf("listed %+v", entry)
	}
	if want := (delivery{ID: stored, State: keypackage.StatePending, LastResult: keypackage.ResultUnknown}); entry.Deliveries[0] != want {
		t.Errorf("listed %+v, want %+v", entry.Deliveries[0], want)
	}

	s.healed.Store(true)
	s.handle(t, true, 1)
	if message := <-s.arrived; message.Request.RequestID != request {
		t.Errorf("replayed %+v", message)
	}
	if entries, err := s.list(t.Context()); err != nil || len(entries) != 0 {
		t.Errorf("left over: %+v, %v", entries, err)
	}
}

// A claim that cannot be read is told of, and keeps no letter from being replayed.
func TestAClaimThatCannotBeReadStopsNoReplay(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	s.healed.Store(true)
	client, err := firestore.NewClient(t.Context(), s.settings.Project)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stray := map[string]any{"request_event_id": request, "granted": "one"}
	if _, err := client.Collection(s.settings.Collections.Claims).Doc("stray").Set(t.Context(), stray); err != nil {
		t.Fatal(err)
	}
	s.publish(t, dead, `{"request_event_id":"`+request+`"}`)
	entry := s.handle(t, true, 1)[0]
	if message := <-s.arrived; message.Request.RequestID != request || !strings.Contains(entry.Unreadable, "stray") {
		t.Errorf("replayed %+v, told %+v", message, entry)
	}
}

func TestRubbishIsNeverReplayed(t *testing.T) {
	t.Parallel()
	s := newWorld(t)
	s.healed.Store(true)
	s.publish(t, dead, `{"requester_pubkey":"`+requester+`"}`)
	s.publish(t, dead, `{"requester_pubkey":"`+requester+`"}`)
	s.publish(t, dead, `no JSON`)

	if listed := s.handle(t, false, 3); len(listed) != 3 {
		t.Errorf("listed %+v, want three", listed)
	}
	for _, entry := range s.handle(t, true, 2) {
		if entry.Requester != requester {
			t.Errorf("replayed %+v", entry)
		}
	}
	if message := <-s.arrived; message.Requester != requester {
		t.Errorf("replayed %+v", message)
	}
	if left := s.handle(t, false, 1); len(left) != 1 || left[0].Unreadable == "" {
		t.Errorf("left %+v, want what is no message", left)
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	since := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	err := printText(&out, func(w io.Writer) {
		printEntries(w, []entry{
			{Since: since, Attempts: 20, Request: "r", Replayed: true, Deliveries: []delivery{
				{"r_a", keypackage.StateDelivered, "delivered", ""}, {"r_b", keypackage.StateExpired, "unknown", "exposure_unknown"},
			}},
			{Since: since, Unreadable: "not JSON"},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `given up              attempts  about                 delivery  state                       last result  
2026-05-04T03:02:01Z  20        request r             r_a       delivered                   delivered    replayed
                                                      r_b       expired (exposure_unknown)  unknown      replayed
2026-05-04T03:02:01Z  0         unreadable: not JSON  none                                               
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	out.Reset()
	if printEntries(&out, nil); out.String() != "no dead letters\n" {
		t.Errorf("got %q", &out)
	}
}
