package relayapi

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

func push() delivering.Push {
	return delivering.Push{
		RequestID: strings.Repeat("a", 64), Requester: strings.Repeat("b", 64), ExpiresAt: time.Unix(1795415479, 0),
		Deliveries: []*keypackage.Delivery{of("d1", `{"id":"é"}`), {ID: "d2"}},
	}
}

func of(id, event string) *keypackage.Delivery {
	return &keypackage.Delivery{ID: id, Package: keypackage.Document{keypackage.FieldEvent: event}}
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

// documented is the contract's table, for every documented status except 200.
var documented = map[int]keypackage.PushResult{
	400: keypackage.ResultMisplaced, 401: keypackage.ResultRefused, 403: keypackage.ResultRefused,
	404: keypackage.ResultMisplaced, 405: keypackage.ResultMisplaced, 408: keypackage.ResultUnclear,
	413: keypackage.ResultTooLarge, 421: keypackage.ResultMisplaced, 425: keypackage.ResultRefused,
	429: keypackage.ResultRefused, 500: keypackage.ResultUnclear, 503: keypackage.ResultUnclear,
}

func TestEveryStatusHasItsMeaning(t *testing.T) {
	t.Parallel()
	undocumented := map[int]keypackage.PushResult{501: keypackage.ResultUnclear, 502: keypackage.ResultUnclear, 599: keypackage.ResultUnclear}
	for _, code := range []int{201, 202, 204, 301, 302, 307, 402, 406, 409, 422, 428} {
		undocumented[code] = keypackage.ResultUnexpected
	}
	for _, table := range []map[int]keypackage.PushResult{documented, undocumented} {
		for code, want := range table {
			var calls atomic.Int32
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				answerWith(code, "")(w, r)
			})
			got := client.Push(t.Context(), push())
			if got.Whole != want || got.Each != nil || got.Err == nil || !strings.Contains(got.Err.Error(), strconv.Itoa(code)) {
				t.Errorf("%d: got %+v, want %v", code, got, want)
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
	if len(responses) != len(documented)+2 { // and "200", "default"
		t.Errorf("%d responses are documented, want %d", len(responses), len(documented)+2)
	}
	for code := range documented {
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
		want map[string]keypackage.PushResult
	}{
		"both":              {`{"results":[{"id":"d1","status":"delivered"},{"id":"d2","status":"no_session"}]}`, map[string]keypackage.PushResult{"d1": keypackage.ResultDelivered, "d2": keypackage.ResultNoSession}},
		"one missing":       {`{"results":[{"id":"d1","status":"unknown","detail":"slow"}]}`, map[string]keypackage.PushResult{"d1": keypackage.ResultUnknown}},
		"none":              {`{"results":[]}`, map[string]keypackage.PushResult{}},
		"a stranger":        {`{"results":[{"id":"d9","status":"delivered"}]}`, map[string]keypackage.PushResult{}},
		"a word of ours":    {`{"results":[{"id":"d1","status":"not_sent"},{"id":"d2","status":"refused"}]}`, map[string]keypackage.PushResult{}},
		"status of 2031":    {`{"results":[{"id":"d1","status":"teleported"}]}`, map[string]keypackage.PushResult{}},
		"contradiction":     {`{"results":[{"id":"d1","status":"rejected"},` + duplicate + `]}`, map[string]keypackage.PushResult{"d1": keypackage.ResultRejected}},
		"additional fields": {`{"took":1,"results":[{"id":"d1","status":"no_subscription","x":{}}]}`, map[string]keypackage.PushResult{"d1": keypackage.ResultNoSubscription}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := serve(t, answerWith(200, tt.body)).Push(t.Context(), push())
			if got.Whole != "" || got.Err != nil || !maps.Equal(got.Each, tt.want) {
				t.Errorf("got %+v, want %v", got, tt.want)
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
			got := serve(t, handler).Push(t.Context(), push())
			if got.Whole != keypackage.ResultUnclear || got.Err == nil {
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
	if got := client.Push(ctx, push()); got.Whole != keypackage.ResultUnclear || got.Err == nil {
		t.Errorf("got %+v, want unclear", got)
	}
}

func TestTimeoutBeforeSendingIsNotSent(t *testing.T) {
	t.Parallel()
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the relay was called") })
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if got := client.Push(ctx, push()); got.Whole != keypackage.ResultNotSent || got.Err == nil {
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
	if got := unreachable.Push(t.Context(), push()); got.Whole != keypackage.ResultNotSent || got.Err == nil {
		t.Errorf("refused connection: got %+v", got)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the relay was called") })
	if got := client.Push(ended, push()); got.Whole != keypackage.ResultNotSent {
		t.Errorf("ended context: got %+v", got)
	}
}

func TestTLSFailureIsNotSent(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS() // with a certificate that nobody trusts
	t.Cleanup(server.Close)
	client, err := New(server.URL+Path, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := client.Push(t.Context(), push()); got.Whole != keypackage.ResultNotSent {
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
	sent.Deliveries = nil
	const trace = "00-11111111111111111111111111111111-2222222222222222-01"
	client.Push(logging.WithTrace(t.Context(), trace), sent)
	if received.Method != http.MethodPost || received.URL.Path != Path || received.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s %v", received.Method, received.URL, received.Header)
	}
	if got := received.Header.Get("Traceparent"); got != trace {
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
		{"https://relay.example" + Path + "?key=s3cr3t", "a", false},
	} {
		_, err := New(tt.url, tt.audience)
		if (err == nil) != tt.ok {
			t.Errorf("New(%q, %q): %v", tt.url, tt.audience, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the address is told: %v", err)
		}
	}
}
