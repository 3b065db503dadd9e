package topic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

const topicID = "deliveries"

// subscribe creates the topic and a push subscription to an endpoint that decodes, and returns what arrives there.
func subscribe(t *testing.T, project string) <-chan topic.Message {
	t.Helper()
	arrived := make(chan topic.Message, 100)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		m, err := topic.Decode(r)
		if err != nil {
			t.Errorf("decode a push of the emulator: %v", err)
		}
		arrived <- m
	}))
	t.Cleanup(endpoint.Close)
	subscribed(t, project, &pubsubpb.PushConfig{PushEndpoint: endpoint.URL})
	return arrived
}

func publisher(t *testing.T, project string) *topic.Publisher {
	t.Helper()
	p, err := topic.NewPublisher(t.Context(), project, topicID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// of returns an announcement that names the request only.
func of(request string) keypackage.Announcement { return keypackage.Announcement{RequestID: request} }

func TestPublishedMessagesArrive(t *testing.T) {
	t.Parallel()
	project := emutest.Project(t)
	arrived := subscribe(t, project)

	messages := []topic.Message{
		{Request: of(id), TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{Request: of(strings.Repeat("1b", 32))},
		{Request: keypackage.Announcement{RequestID: id, Granted: map[string][]string{id: {id}, strings.Repeat("2c", 32): {}}}},
		{Requester: id},
	}
	want := make(map[string]bool)
	for _, m := range messages {
		want[fmt.Sprintf("%+v", m)] = true
	}
	if err := publisher(t, project).Publish(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	for len(want) > 0 {
		m := <-arrived // at least once, so a repetition is not a failure
		delete(want, fmt.Sprintf("%+v", m))
	}
}

func TestPublishReportsALostMessage(t *testing.T) {
	t.Parallel()
	err := publisher(t, emutest.Project(t)).Publish(t.Context(), topic.Message{Request: of(id)})
	if !fault.IsRetryable(err) || fault.Reason(err) != topic.PublishFailed {
		t.Errorf("publish to a topic that does not exist: %v, want a retryable %s", err, topic.PublishFailed)
	}
}

func TestPublishRefusesABadMessage(t *testing.T) {
	t.Parallel()
	project := emutest.Project(t)
	p := publisher(t, project)
	for _, m := range []topic.Message{
		{}, {Request: of(id), Requester: id}, {Requester: "bob"},
		{Request: keypackage.Announcement{RequestID: id, Granted: map[string][]string{"bob": nil}}},
		{Request: keypackage.Announcement{RequestID: id, Granted: map[string][]string{id: {"a/b"}}}},
	} {
		err := p.Publish(t.Context(), topic.Message{Request: of(id)}, m)
		if fault.IsRetryable(err) || fault.Reason(err) != topic.BadMessage {
			t.Errorf("publish %+v: %v, want a permanent %s", m, err, topic.BadMessage)
		}
	}
}

func TestPublishedNoticesArrive(t *testing.T) {
	t.Parallel()
	project := emutest.Project(t)
	client := pullable(t, project)
	notice := keypackage.Notice{
		Owner: id, Suite: "0x0001",
		Supply: keypackage.Supply{Level: keypackage.LevelEmpty, Epoch: 2, At: time.Unix(1_700_000_000, 0)},
	}
	if err := publisher(t, project).PublishNotices(t.Context(), []keypackage.Notice{notice}); err != nil {
		t.Fatal(err)
	}
	var got topic.Notice
	ctx, enough := context.WithCancel(t.Context())
	err := client.Subscriber(topicID).Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		if err := json.Unmarshal(m.Data, &got); err != nil || m.Attributes["id"] != notice.ID() {
			t.Errorf("published %s with %v", m.Data, m.Attributes)
		}
		m.Ack()
		enough()
	})
	want := topic.Notice{ID: notice.ID(), OwnerPubkey: id, Ciphersuite: "0x0001", Level: "empty", Epoch: 2, At: 1_700_000_000}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}
