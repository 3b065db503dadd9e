package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/google-cloudevents-go/cloud/firestoredata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/functions/claim"
	"github.com/keypackage-delivery/keypackage-delivery/functions/deliver"
	"github.com/keypackage-delivery/keypackage-delivery/functions/expire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// logLine is one line of a function's log, as Cloud Logging reads it.
type logLine map[string]any

// logs holds the lines of each function, by entry point.
type logs map[string][]logLine

func (l logs) last(entryPoint string) logLine { return l[entryPoint][len(l[entryPoint])-1] }

// TestUploadServesEveryFunction builds the upload as the cloud does and plays a request through it, claimed by the trigger's
// event, twice, and delivered by the push of its message, and one whose trigger was lost, which is left to the schedule.
func TestUploadServesEveryFunction(t *testing.T) {
	t.Parallel()
	played := playRequests(t)
	for entryPoint, want := range map[string]string{
		claim.EntryPoint: "granted", deliver.EntryPoint: "delivered", expire.EntryPoint: "done",
	} {
		line := played.last(entryPoint)
		labels, _ := line["logging.googleapis.com/labels"].(map[string]any)
		if line["outcome"] != want || line["severity"] != "INFO" || labels["function"] != entryPoint {
			t.Errorf("%s logged %v, want %s", entryPoint, line, want)
		}
	}
}

// playRequests returns what each function logged, oldest first.
func playRequests(t *testing.T) logs {
	t.Helper()
	program := build(t).program
	db := fixture.New(t)
	createTopics(t, db)
	pushed := make(chan relayapi.DeliveryRequest, 1)
	env := map[string]string{
		"GOOGLE_CLOUD_PROJECT": db.Project, "RELAY_DELIVERY_URL": fakeRelay(t, pushed), "RELAY_AUDIENCE": "none",
	}
	owner, requester := actors.NewKey(), actors.NewKey()
	packages := fixture.Packages(t, owner, 2)
	db.PutPackages(packages...)
	request := fixture.Request(t, requester, actors.Question{Owners: []string{owner.Pubkey}})
	lost := fixture.Request(t, actors.NewKey(), actors.Question{Owners: []string{actors.NewKey().Pubkey}})
	lost.ReceivedAt = lost.ReceivedAt.Add(-2 * time.Minute)
	for _, r := range []keypackage.RequestDocument{request, lost} {
		db.Put(fixture.Documents{db.Collections.Requests + "/" + r.ID: map[string]any{
			"event": r.Event, "kind": r.Kind, "received_at": r.ReceivedAt, "open": 7,
		}})
	}

	lines := make(logs)
	play := func(entryPoint string, status int, call func(url string) *http.Request) {
		t.Helper()
		f := start(t, program, entryPoint, env)
		if response := f.call(t, call(f.url)); response.StatusCode != status {
			t.Fatalf("%s answered %d, want %d; log:\n%s", entryPoint, response.StatusCode, status, f.log(t))
		}
		lines[entryPoint] = append(lines[entryPoint], f.lines(t)...)
	}
	for range 2 { // the second finds the answer
		play(claim.EntryPoint, http.StatusNoContent, func(url string) *http.Request { return created(t, url, db, request) })
	}
	play(deliver.EntryPoint, http.StatusNoContent, func(url string) *http.Request { return push(t, url, request.ID) })
	if got := <-pushed; got.RequesterPubkey != requester.Pubkey || len(got.Deliveries) != 1 ||
		got.Deliveries[0].Event != packages[0].Text(keypackage.FieldEvent) {
		t.Errorf("the relay was sent %d deliveries for %s", len(got.Deliveries), got.RequesterPubkey)
	}
	play(expire.EntryPoint, http.StatusOK, func(url string) *http.Request { return post(t, url, "application/json", nil) })
	return lines
}

func createTopics(t *testing.T, db *fixture.DB) {
	t.Helper()
	client, err := pubsub.NewClient(t.Context(), db.Project)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, id := range []string{db.DeliveryTopic, db.NoticeTopic} {
		topic := &pubsubpb.Topic{Name: "projects/" + db.Project + "/topics/" + id}
		if _, err := client.TopicAdminClient.CreateTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
}

// fakeRelay delivers whatever it is sent, and shows it.
func fakeRelay(t *testing.T, pushed chan<- relayapi.DeliveryRequest) (url string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request relayapi.DeliveryRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var response relayapi.DeliveryResponse
		for _, d := range request.Deliveries {
			response.Results = append(response.Results, relayapi.Result{ID: d.ID, Status: relayapi.Delivered})
		}
		_ = json.NewEncoder(w).Encode(response)
		pushed <- request
	}))
	t.Cleanup(server.Close)
	return server.URL + relayapi.Path
}

// function is a started function.
type function struct {
	url, logFile string
}

// start runs the program as Cloud Run does: one entry point, a port, the settings, and nothing else of ours.
func start(t *testing.T, program, entryPoint string, settings map[string]string) function {
	t.Helper()
	port, err := process.FreePort(0)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"FUNCTION_TARGET": entryPoint, "PORT": fmt.Sprint(port)}
	for _, name := range []string{"FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "HOME", "PATH"} {
		env[name] = os.Getenv(name)
	}
	maps.Copy(env, settings)
	p := &process.Process{Name: entryPoint, Path: program, LogFile: filepath.Join(t.TempDir(), entryPoint+".log"), Port: port}
	for name, value := range env {
		p.Env = append(p.Env, name+"="+value)
	}
	t.Cleanup(p.Stop)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return function{"http://" + p.Addr(), p.LogFile}
}

func (f function) call(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response
}

func (f function) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(f.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// lines returns what the function logged about its work, which it does before it answers.
func (f function) lines(t *testing.T) []logLine {
	t.Helper()
	var lines []logLine
	for text := range strings.Lines(f.log(t)) {
		var line logLine
		if json.Unmarshal([]byte(text), &line) == nil { // the framework's own are plain text
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no line is JSON:\n%s", f.log(t))
	}
	return lines
}

func post(t *testing.T, url, contentType string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// created is the event that Eventarc sends for a new document: a CloudEvent in binary mode.
func created(t *testing.T, url string, db *fixture.DB, request keypackage.RequestDocument) *http.Request {
	t.Helper()
	path := "documents/" + db.Collections.Requests + "/" + request.ID
	database := "projects/" + db.Project + "/databases/" + db.Database
	body, err := proto.Marshal(&firestoredata.DocumentEventData{Value: &firestoredata.Document{
		Name: database + "/" + path, CreateTime: timestamppb.New(request.ReceivedAt),
		Fields: map[string]*firestoredata.Value{
			"event":       {ValueType: &firestoredata.Value_StringValue{StringValue: request.Event}},
			"kind":        {ValueType: &firestoredata.Value_IntegerValue{IntegerValue: request.Kind}},
			"received_at": {ValueType: &firestoredata.Value_TimestampValue{TimestampValue: timestamppb.New(request.ReceivedAt)}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := post(t, url, "application/protobuf", body)
	for name, value := range map[string]string{
		"id": "1", "source": "//firestore.googleapis.com/" + database, "specversion": "1.0", "subject": path,
		"type": "google.cloud.firestore.document.v1.created", "time": request.ReceivedAt.Format(time.RFC3339Nano),
	} {
		r.Header.Set("ce-"+name, value)
	}
	return r
}

// push is what a push subscription sends.
func push(t *testing.T, url, requestID string) *http.Request {
	t.Helper()
	type message struct {
		Data      []byte `json:"data"`
		MessageID string `json:"messageId"`
	}
	body, err := json.Marshal(map[string]any{
		"subscription": "projects/p/subscriptions/s",
		"message":      message{[]byte(`{"request_event_id":"` + requestID + `"}`), "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return post(t, url, "application/json", body)
}
