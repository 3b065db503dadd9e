package system

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2"
	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"google.golang.org/protobuf/proto"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

const (
	documentCreated  = "google.cloud.firestore.document.v1.created"
	messagePublished = "google.cloud.pubsub.topic.v1.messagePublished"

	// marker is part of all rubbish and must not be repeated in a log.
	marker = "IREPEATWHATSTRANGERSSAY"
)

func eventHeader(eventType string) http.Header {
	return http.Header{
		"Content-Type": {"application/protobuf"}, "Ce-Id": {"1"}, "Ce-Specversion": {"1.0"}, "Ce-Type": {eventType},
		"Ce-Source": {"//firestore.googleapis.com/projects/p/databases/(default)"}, "Ce-Document": {marker},
	}
}

func push(data string) []byte {
	body, _ := json.Marshal(map[string]any{"message": map[string]any{"data": []byte(data), "messageId": marker}})
	return body
}

// One clear log line and an acknowledgement for everything that can be posted to a function.
func TestRubbishIsAcknowledged(t *testing.T) {
	noise := make([]byte, 512)
	_, _ = rand.Read(noise) // never fails
	noise = append(noise, marker...)
	nameless, _ := proto.Marshal(&firestoredata.DocumentEventData{Value: &firestoredata.Document{}})
	plain := http.Header{"Content-Type": {"application/json"}}
	id := strings.Repeat("ab", 32)
	for name, test := range map[string]struct {
		entryPoint string
		header     http.Header
		body       []byte
		reason     string
	}{
		"noise as a document":         {suite.Claim, eventHeader(documentCreated), noise, "bad_event"},
		"no document":                 {suite.Claim, eventHeader(documentCreated), nil, "bad_event"},
		"document without a name":     {suite.Claim, eventHeader(documentCreated), nameless, "bad_event"},
		"document that was deleted":   {suite.Claim, eventHeader("google.cloud.firestore.document.v1.deleted"), nil, "unknown_event_type"},
		"no event":                    {suite.Claim, plain, noise, "bad_event"},
		"empty request":               {suite.Claim, nil, nil, "bad_event"},
		"structured event, broken":    {suite.Claim, http.Header{"Content-Type": {"application/cloudevents+json"}}, noise, "bad_event"},
		"more than fits":              {suite.Claim, eventHeader(documentCreated), bytes.Repeat([]byte(marker), 50_000), "body_too_large"},
		"noise as a push":             {suite.Deliver, plain, noise, "bad_envelope"},
		"empty push":                  {suite.Deliver, plain, nil, "bad_envelope"},
		"push without data":           {suite.Deliver, plain, []byte(`{"message":{"messageId":"` + marker + `"}}`), "no_data"},
		"push without a message":      {suite.Deliver, plain, []byte(`{"subscription":"` + marker + `"}`), "no_data"},
		"data that is not base64":     {suite.Deliver, plain, []byte(`{"message":{"data":"-` + marker + `"}}`), "bad_envelope"},
		"array as a push":             {suite.Deliver, plain, []byte(`["` + marker + `"]`), "bad_envelope"},
		"noise as a message":          {suite.Deliver, plain, push(string(noise)), "bad_message"},
		"unknown message":             {suite.Deliver, plain, push(`{"reticulate":"` + marker + `"}`), "bad_message"},
		"two messages in one":         {suite.Deliver, plain, push(`{"request_event_id":"` + id + `","requester_pubkey":"` + id + `"}`), "bad_message"},
		"upper-case id":               {suite.Deliver, plain, push(`{"request_event_id":"` + strings.ToUpper(id) + `"}`), "bad_message"},
		"id that is a number":         {suite.Deliver, plain, push(`{"request_event_id":447}`), "bad_message"},
		"event of another type":       {suite.Deliver, eventHeader(documentCreated), noise, "unknown_event_type"},
		"event with noise":            {suite.Deliver, eventHeader(messagePublished), noise, "bad_envelope"},
		"a push that is far too long": {suite.Deliver, plain, push(strings.Repeat(marker, 4000)), "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			s := onEveryday(t)
			trace, header := newTrace(test.header)
			if status := s.traffic.post(test.entryPoint, header, test.body); status != http.StatusNoContent {
				t.Errorf("answered %d", status)
			}
			lines := s.logged(test.entryPoint, trace)
			if len(lines) != 1 || !strings.Contains(lines[0], `"reason":"`+test.reason+`"`) ||
				!strings.Contains(lines[0], `"severity":"WARNING"`) || strings.Contains(lines[0], marker) {
				t.Errorf("logged %q, want one warning that says %s and no more", lines, test.reason)
			}
		})
	}
}

// ExpireDeliveries reads nothing, so nothing can confuse it.
func TestTickWithRubbish(t *testing.T) {
	s := onEveryday(t)
	if status := s.traffic.post(suite.Expire, http.Header{"Content-Type": {"text/plain"}}, []byte(marker)); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
}

func TestRubbishOnTheTopicIsNotRetried(t *testing.T) {
	for name, message := range map[string]struct {
		data       string
		attributes map[string]string
	}{
		"not JSON":            {marker, nil},
		"no data":             {"", map[string]string{"request_event_id": strings.Repeat("ab", 32)}},
		"unknown message":     {`{"reticulate":"splines"}`, nil},
		"request of nobody":   {`{"request_event_id":"` + strings.Repeat("ab", 32) + `"}`, nil},
		"requester of nobody": {`{"requester_pubkey":"` + strings.Repeat("cd", 32) + `"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := onEveryday(t)
			s.acknowledgedAtOnce(s.message([]byte(message.data), message.attributes))
		})
	}
}

// message publishes to the delivery topic, as relays and the functions do, and returns the message's id.
func (s *world) message(data []byte, attributes map[string]string) string {
	s.t.Helper()
	client, err := pubsub.NewClient(s.ctx, s.Config().Project, clientOptions(s.Addresses().PubSub)...)
	s.must(err)
	defer client.Close()
	id, err := client.Publisher(s.Config().DeliveryTopic).Publish(s.ctx, &pubsub.Message{Data: data, Attributes: attributes}).Get(s.ctx)
	s.must(err)
	return id
}

// newTrace adds a trace of its own to a request, by which its log lines are found.
func newTrace(header http.Header) (trace string, with http.Header) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	trace = hex.EncodeToString(id)
	with = http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}}
	for name, values := range header {
		with[name] = values
	}
	return trace, with
}

// logged waits for log lines with a trace and returns them.
func (s *world) logged(entryPoint, trace string) (lines []string) {
	s.t.Helper()
	s.eventually("a log line", func() bool {
		log, err := os.ReadFile(s.LogFile(entryPoint))
		s.must(err)
		lines = nil
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, trace) && strings.HasSuffix(line, "\n") {
				lines = append(lines, line)
			}
		}
		return len(lines) > 0
	})
	return lines
}
