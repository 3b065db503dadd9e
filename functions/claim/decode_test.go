package claim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const collection = "projects/p/databases/(default)/documents/mls_keypackage_requests/"

var (
	received = time.Date(2026, 11, 23, 12, 0, 0, 5000, time.UTC)
	stored   = received.Add(20 * time.Millisecond)
	emitted  = received.Add(time.Second)
)

func text(s string) *firestoredata.Value {
	return &firestoredata.Value{ValueType: &firestoredata.Value_StringValue{StringValue: s}}
}

func number(n int64) *firestoredata.Value {
	return &firestoredata.Value{ValueType: &firestoredata.Value_IntegerValue{IntegerValue: n}}
}

func moment(t *timestamppb.Timestamp) *firestoredata.Value {
	return &firestoredata.Value{ValueType: &firestoredata.Value_TimestampValue{TimestampValue: t}}
}

// document returns the data of an event about a request document, changed by edit.
func document(t testing.TB, edit func(*firestoredata.Document)) []byte {
	t.Helper()
	d := &firestoredata.Document{
		Name: collection + "r1",
		Fields: map[string]*firestoredata.Value{
			"event": text(`{"kind":447}`), "kind": number(447), "received_at": moment(timestamppb.New(received)),
			"pubkey": text("alice"), "created_at": number(received.Unix()),
			"gateway": {ValueType: &firestoredata.Value_BooleanValue{BooleanValue: true}},
		},
		CreateTime: timestamppb.New(stored),
	}
	if edit != nil {
		edit(d)
	}
	data, err := proto.Marshal(&firestoredata.DocumentEventData{Value: d})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func cloudEvent(t testing.TB, kind string, data []byte) event.Event {
	t.Helper()
	e := event.New()
	e.SetID("17")
	e.SetType(kind)
	e.SetSource("//firestore.googleapis.com/projects/p/databases/(default)")
	e.SetTime(emitted)
	if err := e.SetData("application/protobuf", data); err != nil {
		t.Fatal(err)
	}
	return e
}

func binary(t testing.TB, kind string, data []byte) *http.Request {
	t.Helper()
	r, err := cehttp.NewHTTPRequestFromEvent(t.Context(), "http://function/", cloudEvent(t, kind, data))
	if err != nil {
		t.Fatal(err)
	}
	if r.Body == nil {
		r.Body = http.NoBody // a server's request always has one
	}
	return r
}

func structured(t testing.TB, kind string, data []byte) *http.Request {
	t.Helper()
	body, err := json.Marshal(cloudEvent(t, kind, data))
	if err != nil {
		t.Fatal(err)
	}
	return posted("application/cloudevents+json; charset=utf-8", string(body))
}

func posted(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

func TestDecode(t *testing.T) {
	t.Parallel()
	want := keypackage.RequestDocument{ID: "r1", Event: `{"kind":447}`, Kind: 447, HasKind: true, ReceivedAt: received, Gateway: true}
	for name, r := range map[string]*http.Request{
		"binary":            binary(t, created, document(t, nil)),
		"structured":        structured(t, created, document(t, nil)),
		"with auth context": binary(t, createdWithAuth, document(t, nil)),
	} {
		if got, err := decode(r); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A document of the wrong shape is decoded as far as it goes: the claim records what is wrong with it.
func TestDecodeWrongShapes(t *testing.T) {
	t.Parallel()
	without := func(field string) func(*firestoredata.Document) {
		return func(d *firestoredata.Document) { delete(d.Fields, field) }
	}
	with := func(field string, value *firestoredata.Value) func(*firestoredata.Document) {
		return func(d *firestoredata.Document) { d.Fields[field] = value }
	}
	list := &firestoredata.Value{ValueType: &firestoredata.Value_ArrayValue{ArrayValue: &firestoredata.ArrayValue{}}}
	float := &firestoredata.Value{ValueType: &firestoredata.Value_DoubleValue{DoubleValue: 447}}
	null := &firestoredata.Value{ValueType: &firestoredata.Value_NullValue{}}
	noEvent := keypackage.RequestDocument{ID: "r1", Kind: 447, HasKind: true, ReceivedAt: received, Gateway: true}
	noKind := keypackage.RequestDocument{ID: "r1", Event: `{"kind":447}`, ReceivedAt: received, Gateway: true}
	noTime := keypackage.RequestDocument{ID: "r1", Event: `{"kind":447}`, Kind: 447, HasKind: true, ReceivedAt: stored, Gateway: true}
	late := noTime
	late.ReceivedAt = emitted
	for name, tt := range map[string]struct {
		edit func(*firestoredata.Document)
		want keypackage.RequestDocument
	}{
		"no event":              {without("event"), noEvent},
		"event as a list":       {with("event", list), noEvent},
		"event as null":         {with("event", null), noEvent},
		"event without a value": {with("event", &firestoredata.Value{}), noEvent},
		"no kind":               {without("kind"), noKind},
		"kind as text":          {with("kind", text("447")), noKind},
		"kind as a float":       {with("kind", float), noKind},
		"no receipt":            {without("received_at"), noTime},
		"receipt as seconds":    {with("received_at", number(received.Unix())), noTime},
		"receipt beyond time":   {with("received_at", moment(&timestamppb.Timestamp{Seconds: 1 << 60})), noTime},
		"no time at all": {func(d *firestoredata.Document) {
			delete(d.Fields, "received_at")
			d.CreateTime = nil
		}, late},
		"creation beyond time": {func(d *firestoredata.Document) {
			delete(d.Fields, "received_at")
			d.CreateTime = &timestamppb.Timestamp{Seconds: -1 << 60}
		}, late},
		"no fields": {func(d *firestoredata.Document) { d.Fields = nil }, keypackage.RequestDocument{ID: "r1", ReceivedAt: stored}},
	} {
		if got, err := decode(binary(t, created, document(t, tt.edit))); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is not an event about a created document fails for good, with a reason, and is acknowledged.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	nameless := document(t, func(d *firestoredata.Document) { d.Name = "" })
	empty, err := proto.Marshal(&firestoredata.DocumentEventData{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		r      *http.Request
		reason string
	}{
		"empty":               {posted("application/json", ""), reasonBadEvent},
		"JSON":                {posted("application/json", "{}"), reasonBadEvent},
		"rubbish":             {posted("application/octet-stream", "\x00\xff\x80"), reasonBadEvent},
		"no content type":     {posted("", "x"), reasonBadEvent},
		"half an event":       {posted("application/cloudevents+json", `{"specversion":"1.0"`), reasonBadEvent},
		"an event of nothing": {posted("application/cloudevents+json", `{"specversion":"1.0"}`), reasonUnknownType},
		"a batch":             {posted("application/cloudevents-batch+json", "[]"), reasonBadEvent},
		"updated":             {binary(t, "google.cloud.firestore.document.v1.updated", document(t, nil)), reasonUnknownType},
		"written":             {binary(t, "google.cloud.firestore.document.v1.written", document(t, nil)), reasonUnknownType},
		"another service":     {binary(t, "google.cloud.pubsub.topic.v1.messagePublished", document(t, nil)), reasonUnknownType},
		"data is rubbish":     {binary(t, created, []byte("\xff\xff\xff")), reasonBadEvent},
		"data is truncated":   {binary(t, created, document(t, nil)[:40]), reasonBadEvent},
		"no data":             {binary(t, created, nil), reasonBadEvent},
		"no document":         {binary(t, created, empty), reasonBadEvent},
		"no name":             {binary(t, created, nameless), reasonBadEvent},
		"too large":           {binary(t, created, document(t, func(d *firestoredata.Document) { d.Fields["event"] = text(strings.Repeat("x", maxBody)) })), reasonBodyTooLarge},
	} {
		got, err := decode(tt.r)
		if fault.Reason(err) != tt.reason || fault.IsRetryable(err) || got != (keypackage.RequestDocument{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A 600 KB document is more than Eventarc delivers, and less than the limit: the claim has a reason for it.
func TestDecodeLargeDocument(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 600<<10)
	got, err := decode(binary(t, created, document(t, func(d *firestoredata.Document) { d.Fields["event"] = text(large) })))
	if err != nil || len(got.Event) != len(large) {
		t.Fatalf("%d bytes, %v", len(got.Event), err)
	}
	if _, err := keypackage.ParseRequest(got, 10); err != keypackage.RejectTooLarge {
		t.Errorf("rejected as %v", err)
	}
}
