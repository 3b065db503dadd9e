package relayapi

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"gopkg.in/yaml.v3"
)

func push() DeliveryRequest {
	return DeliveryRequest{
		RequestEventID:  strings.Repeat("a", 64),
		RequesterPubkey: strings.Repeat("b", 64),
		ExpiresAt:       1795415479,
		Deliveries:      []Delivery{{ID: "d1", Event: `{"id":"é"}`}, {ID: "d2"}},
	}
}

// serve returns a client without a token for a relay that answers with handler.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := New(server.URL+Path, "")
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func answerWith(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// classes is the contract's table, for every documented status except 200.
var classes = map[int]Class{
	400: Unexpected, 401: Refused, 403: Refused, 404: Refused, 405: Unexpected, 408: Unclear,
	413: Refused, 425: Refused, 429: Refused, 500: Unclear, 503: Unclear,
}

func TestEveryStatusHasItsClass(t *testing.T) {
	t.Parallel()
	undocumented := map[int]Class{
		201: Unexpected, 202: Unexpected, 204: Unexpected, 301: Unexpected, 302: Unexpected, 307: Unexpected,
		402: Unexpected, 409: Unexpected, 422: Unexpected, 501: Unclear, 502: Unclear, 504: Unclear, 599: Unclear,
	}
	for _, table := range []map[int]Class{classes, undocumented} {
		for code, want := range table {
			var calls atomic.Int32
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				answerWith(code, "")(w, r)
			})
			got := client.Deliver(t.Context(), push())
			if got.Class != want || got.Code != code || got.Err == nil || got.Results != nil {
				t.Errorf("%d: got %v (code %d, err %v), want %v", code, got.Class, got.Code, got.Err, want)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d: the relay was called %d times", code, n)
			}
		}
	}
}

func TestEveryDocumentedStatusIsInTheTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]struct {
			Post struct{ Responses map[string]any }
		}
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	responses := document.Paths[Path].Post.Responses
	if len(responses) != len(classes)+2 { // and "200", "default"
		t.Errorf("%d responses are documented, want %d", len(responses), len(classes)+2)
	}
	for code := range classes {
		if responses[strconv.Itoa(code)] == nil {
			t.Errorf("%d is not documented", code)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	const duplicate = `{"id":"d2","status":"delivered"},{"id":"d2","status":"no_session"}`
	tests := map[string]struct {
		body string
		want map[string]Status
	}{
		"both":              {`{"results":[{"id":"d1","status":"delivered"},{"id":"d2","status":"no_session"}]}`, map[string]Status{"d1": Delivered, "d2": NoSession}},
		"one missing":       {`{"results":[{"id":"d1","status":"unknown","detail":"slow"}]}`, map[string]Status{"d1": Unknown}},
		"none":              {`{"results":[]}`, map[string]Status{}},
		"a stranger":        {`{"results":[{"id":"d9","status":"delivered"}]}`, map[string]Status{}},
		"status of 2031":    {`{"results":[{"id":"d1","status":"teleported"}]}`, map[string]Status{}},
		"contradiction":     {`{"results":[{"id":"d1","status":"rejected"},` + duplicate + `]}`, map[string]Status{"d1": Rejected}},
		"additional fields": {`{"took":1,"results":[{"id":"d1","status":"no_subscription","x":{}}]}`, map[string]Status{"d1": NoSubscription}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := serve(t, answerWith(200, tt.body)).Deliver(t.Context(), push())
			if got.Class != Answered || got.Err != nil || len(got.Results) != len(tt.want) {
				t.Fatalf("got %+v, want %v", got, tt.want)
			}
			for id, status := range tt.want {
				if got.Results[id].Status != status {
					t.Errorf("%s: got %q, want %q", id, got.Results[id].Status, status)
				}
			}
		})
	}
}

func TestUnreadableAnswerIsUnclear(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"empty":         answerWith(200, ""),
		"not JSON":      answerWith(200, "<html>"),
		"no results":    answerWith(200, "{}"),
		"null":          answerWith(200, "null"),
		"wrong type":    answerWith(200, `{"results":"d1"}`),
		"two documents": answerWith(200, `{"results":[]}{"results":[]}`),
		"too long":      answerWith(200, `{"results":[]}`+strings.Repeat(" ", maxResponseBytes)),
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"results":[]}`)
		},
		"connection broken": func(w http.ResponseWriter, r *http.Request) {
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := serve(t, handler).Deliver(t.Context(), push())
			if got.Class != Unclear || got.Err == nil {
				t.Errorf("got %+v, want unclear", got)
			}
		})
	}
}

func TestGivingUpAfterSendingIsUnclear(t *testing.T) {
	t.Parallel()
	ctx, giveUp := context.WithCancel(t.Context())
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
		giveUp()
		<-r.Context().Done()
	})
	if got := client.Deliver(ctx, push()); got.Class != Unclear || got.Err == nil {
		t.Errorf("got %+v, want unclear", got)
	}
}

func TestTimeoutBeforeSendingIsNotSent(t *testing.T) {
	t.Parallel()
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the relay was called") })
	client.timeout = 0
	if got := client.Deliver(t.Context(), push()); got.Class != NotSent || got.Err == nil {
		t.Errorf("got %+v, want not_sent", got)
	}
}

func TestFailureBeforeTheRequestIsNotSent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + listener.Addr().String() + Path
	listener.Close()
	unreachable, err := New(endpoint, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := unreachable.Deliver(t.Context(), push()); got.Class != NotSent || got.Err == nil {
		t.Errorf("refused connection: got %+v", got)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the relay was called") })
	if got := client.Deliver(ended, push()); got.Class != NotSent {
		t.Errorf("ended context: got %+v", got)
	}
}

func TestTLSFailureIsNotSent(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS() // with a certificate that nobody trusts
	t.Cleanup(server.Close)
	client, err := New(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := client.Deliver(t.Context(), push()); got.Class != NotSent {
		t.Errorf("got %+v, want not_sent", got)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	var received *http.Request
	var body []byte
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		received = r
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, `{"results":[]}`)
	})
	sent := push()
	sent.Deliveries, sent.TraceParent = nil, "00-11111111111111111111111111111111-2222222222222222-01"
	client.Deliver(t.Context(), sent)
	if received.Method != http.MethodPost || received.URL.Path != Path || received.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s %v", received.Method, received.URL, received.Header)
	}
	if got := received.Header.Get("Traceparent"); got != sent.TraceParent {
		t.Errorf("traceparent is %q", got)
	}
	if received.Header.Get("Authorization") != "" {
		t.Error("a token was sent without an audience")
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	if _, isList := fields["deliveries"].([]any); !isList || fields["outcome"] != nil || len(fields) != 4 {
		t.Errorf("got %s", body)
	}
}

func TestNewRefusesUnsafeEndpoints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url, audience string
		ok            bool
	}{
		{"https://relay.example" + Path, "https://relay.example", true},
		{"http://127.0.0.1:7447" + Path, "", true},
		{"http://localhost:7447" + Path, "anything", true},
		{"http://[::1]:7447" + Path, "", true},
		{"https://relay.example" + Path, "", false},
		{"http://relay.example" + Path, "https://relay.example", false},
		{"http://127.0.0.1.relay.example" + Path, "", false},
		{"ftp://127.0.0.1/", "", false},
		{"//127.0.0.1/", "", false},
		{"https:///x", "a", false},
		{"", "a", false},
		{"%", "a", false},
	} {
		if _, err := New(tt.url, tt.audience); (err == nil) != tt.ok {
			t.Errorf("New(%q, %q): %v", tt.url, tt.audience, err)
		}
	}
}
