package topic_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

const publishedType = "google.cloud.pubsub.topic.v1.messagePublished"

var (
	id      = strings.Repeat("0a", 32)
	request = `{"request_event_id":"` + id + `"}`
	nudge   = `{"requester_pubkey":"` + id + `"}`
	named   = request[:len(request)-1] + `,"granted":{"` + id + `":["k1","` + id + `"]}}`
)

// envelope returns a push body as Pub/Sub writes it, including the fields that nobody needs.
func envelope(data string) string {
	body, _ := json.Marshal(map[string]any{
		"subscription":    "projects/p/subscriptions/s",
		"deliveryAttempt": 1,
		"message": map[string]any{
			"data":        base64.StdEncoding.EncodeToString([]byte(data)),
			"attributes":  map[string]string{"traceparent": "00-trace-span-01", "other": "x"},
			"messageId":   "17",
			"message_id":  "17",
			"publishTime": "2026-11-23T10:00:00Z",
		},
	})
	return string(body)
}

func push(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/projects/p/topics/t", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func cloudEvent(t *testing.T, eventType, body string) event.Event {
	t.Helper()
	e := event.New()
	e.SetID("17")
	e.SetType(eventType)
	e.SetSource("//pubsub.googleapis.com/projects/p/topics/t")
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(body)); err != nil {
		t.Fatal(err)
	}
	return e
}

func binary(t *testing.T, eventType, body string) *http.Request {
	t.Helper()
	r, err := cehttp.NewHTTPRequestFromEvent(t.Context(), "http://function/", cloudEvent(t, eventType, body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func structured(t *testing.T, eventType, body string) *http.Request {
	t.Helper()
	encoded, err := json.Marshal(cloudEvent(t, eventType, body))
	if err != nil {
		t.Fatal(err)
	}
	r := push(string(encoded))
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	return r
}

func TestDecode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		r    *http.Request
		want topic.Message
	}{
		{"push, request", push(envelope(request)), topic.Message{Request: of(id)}},
		{
			"push, request with names", push(envelope(named)),
			topic.Message{Request: keypackage.Announcement{RequestID: id, Granted: map[string][]string{id: {"k1", id}}}},
		},
		{"push, requester", push(envelope(nudge)), topic.Message{Requester: id}},
		{"push, unknown field beside", push(envelope(`{"v":2,` + request[1:])), topic.Message{Request: of(id)}},
		{"binary CloudEvent", binary(t, publishedType, envelope(request)), topic.Message{Request: of(id)}},
		{"structured CloudEvent", structured(t, publishedType, envelope(nudge)), topic.Message{Requester: id}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.want.TraceParent = "00-trace-span-01"
			got, err := topic.Decode(test.r)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("Decode = %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// granting is a message that names a package of an owner.
func granting(pkg string) string {
	return `{"request_event_id":"` + id + `","granted":{"` + id + `":["` + pkg + `"]}}`
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	noType := binary(t, publishedType, envelope(request))
	noType.Header.Del("Ce-Type")
	reserved := binary(t, publishedType, envelope(request))
	reserved.Header.Set("Ce-Datacontenttype", "application/json")
	batch := push("[]")
	batch.Header.Set("Content-Type", "application/cloudevents-batch+json")

	tests := []struct {
		name   string
		r      *http.Request
		reason string
	}{
		{"empty body", push(""), topic.BadEnvelope},
		{"binary rubbish", push("\x00\xff\x01"), topic.BadEnvelope},
		{"an array", push("[]"), topic.BadEnvelope},
		{"two documents", push(envelope(request) + "{}"), topic.BadEnvelope},
		{"message of the wrong type", push(`{"message":"hello"}`), topic.BadEnvelope},
		{"data that is not base64", push(`{"message":{"data":"*"}}`), topic.BadEnvelope},
		{"null", push("null"), topic.NoData},
		{"no message", push("{}"), topic.NoData},
		{"no data", push(`{"message":{"attributes":{"a":"b"},"messageId":"1"}}`), topic.NoData},
		{"empty data", push(envelope("")), topic.NoData},
		{"data that is not JSON", push(envelope("deliver!")), topic.BadMessage},
		{"data of the wrong type", push(envelope(`{"request_event_id":7}`)), topic.BadMessage},
		{"unknown message", push(envelope(`{"stock":"low"}`)), topic.BadMessage},
		{"both keys", push(envelope(request[:len(request)-1] + "," + nudge[1:])), topic.BadMessage},
		{"63 digits", push(envelope(`{"request_event_id":"` + id[1:] + `"}`)), topic.BadMessage},
		{"package without a name", push(envelope(granting(""))), topic.BadMessage},
		{"package with a path", push(envelope(granting("a/b"))), topic.BadMessage},
		{"package with a reserved name", push(envelope(granting("__x__"))), topic.BadMessage},
		{"package with a long name", push(envelope(granting(strings.Repeat("x", 1500)))), topic.BadMessage},
		{"upper case", push(envelope(strings.ToUpper(request))), topic.BadMessage},
		{"document path", push(envelope(`{"request_event_id":"../` + id[3:] + `"}`)), topic.BadMessage},
		{"owner that is no key", push(envelope(strings.Replace(named, `{"`+id, `{"bob`, 1))), topic.BadMessage},
		{"path to a KeyPackage", push(envelope(strings.Replace(named, "k1", "../k1", 1))), topic.BadMessage},
		{"KeyPackage without id", push(envelope(strings.Replace(named, "k1", "", 1))), topic.BadMessage},
		{"too large", push(strings.Repeat(" ", 64<<10) + envelope(request)), topic.BodyTooLarge},
		{"another CloudEvent", binary(t, "google.cloud.firestore.document.v1.created", envelope(request)), topic.UnknownEventType},
		{"another CloudEvent, structured", structured(t, "com.example.other", envelope(request)), topic.UnknownEventType},
		{"CloudEvent without type", noType, topic.UnknownEventType},
		{"CloudEvent with a reserved header", reserved, topic.BadEnvelope},
		{"CloudEvent without data", binary(t, publishedType, "{}"), topic.NoData},
		{"batch of CloudEvents", batch, topic.BadEnvelope},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := topic.Decode(test.r)
			if err == nil {
				t.Fatalf("Decode = %+v, want an error", got)
			}
			if fault.IsRetryable(err) || fault.Reason(err) != test.reason {
				t.Errorf("retryable %v, reason %q (%v); want permanent %q", fault.IsRetryable(err), fault.Reason(err), err, test.reason)
			}
		})
	}
}

func TestDecodeOfABrokenConnectionIsRetryable(t *testing.T) {
	t.Parallel()
	r := push("")
	r.Body = io.NopCloser(brokenReader{})
	if _, err := topic.Decode(r); !fault.IsRetryable(err) || fault.Reason(err) != topic.BodyUnreadable {
		t.Errorf("Decode: %v, want a retryable %s", err, topic.BodyUnreadable)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func FuzzDecode(f *testing.F) {
	f.Add("application/json", "", []byte(envelope(request)))
	f.Add("application/json", publishedType, []byte(envelope(nudge)))
	f.Add("application/cloudevents+json", "", []byte(`{"specversion":"1.0","id":"1","source":"s","type":"`+publishedType+`","data":`+envelope(request)+`}`))
	f.Add("application/cloudevents-batch+json", "1.0", []byte("[]"))
	f.Add("application/json", "", []byte(envelope(named)))
	f.Add("", "", []byte("null"))

	f.Fuzz(func(t *testing.T, contentType, eventType string, body []byte) {
		r := push(string(body))
		r.Header.Set("Content-Type", contentType)
		if eventType != "" {
			r.Header.Set("Ce-Specversion", "1.0")
			r.Header.Set("Ce-Id", "1")
			r.Header.Set("Ce-Source", "s")
			r.Header.Set("Ce-Type", eventType)
		}
		got, err := topic.Decode(r)
		if err != nil {
			if fault.IsRetryable(err) {
				t.Errorf("%v would be retried for ever", err)
			}
			return
		}
		key := got.Request.RequestID + got.Requester
		if len(key) != 64 || strings.Trim(key, "0123456789abcdef") != "" {
			t.Errorf("accepted %+v", got)
		}
		for owner, packages := range got.Request.Granted {
			for _, name := range append(packages, owner) {
				if name == "" || strings.Contains(name, "/") {
					t.Errorf("accepted the name %q", name)
				}
			}
		}
	})
}
