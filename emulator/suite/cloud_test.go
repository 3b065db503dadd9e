package suite

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
)

var quiet = slog.New(slog.DiscardHandler)

// fixture is a function behind its authenticator.
type fixture struct {
	issuer *identity.Issuer
	caller caller
}

func newFixture(t *testing.T, function http.HandlerFunc) fixture {
	t.Helper()
	issuer, err := identity.Start("test-project")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Stop() })
	backend := httptest.NewServer(function)
	t.Cleanup(backend.Close)

	var authenticator http.Handler
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { authenticator.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	f := fixture{issuer, caller{issuer, front.URL, issuer.Account("caller")}}
	if authenticator, err = f.caller.authenticated(newProxy(strings.TrimPrefix(backend.URL, "http://"))); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAuthenticator(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	url, caller := f.caller.url, f.caller.account
	mint := func(audience, email string) string {
		token, err := f.issuer.Mint(audience, email)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	tests := map[string]struct {
		authorization string
		want          int
	}{
		"right":          {mint(url, caller), http.StatusNoContent},
		"none":           {"", http.StatusUnauthorized},
		"not a token":    {"Bearer rubbish", http.StatusUnauthorized},
		"other scheme":   {"Basic Zm9vOmJhcg==", http.StatusUnauthorized},
		"other audience": {mint("https://elsewhere.example", caller), http.StatusUnauthorized},
		"other account":  {mint(url, f.issuer.Account("stranger")), http.StatusForbidden},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", test.authorization)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != test.want {
				t.Errorf("status %d, want %d", res.StatusCode, test.want)
			}
		})
	}
}

// emulatorEvent is a document event as the Firestore emulator sends it.
func emulatorEvent(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(base64.StdEncoding.EncodeToString([]byte(body))))
	r.Header.Set("Content-Type", "application/protobuf")
	r.Header.Set("ce-id", "1")
	r.Header.Set("ce-datacontenttype", "application/protobuf")
	r.Header.Set("ce-source", "//firestore.googleapis.com/projects/projects/p/databases/(default)")
	return r
}

func TestEventarcAdaptsAndRetriesUntilAcknowledged(t *testing.T) {
	t.Parallel()
	calls := make(chan *http.Request, 10)
	answered := make(chan struct{})
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		<-answered // the emulator waits for nobody
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		calls <- r
		if len(calls) < 3 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	var calling sync.WaitGroup
	events := &eventarc{f.caller, quiet, t.Context(), &calling}
	answer := httptest.NewRecorder()
	events.ServeHTTP(answer, emulatorEvent(t, "protobuf bytes"))
	close(answered)
	if answer.Code/100 != 2 {
		t.Fatalf("the emulator got %d", answer.Code)
	}
	calling.Wait() // ends with the acknowledgement

	if len(calls) != 3 {
		t.Fatalf("%d calls, want two failures and a success", len(calls))
	}
	for range 3 {
		call := <-calls
		if body, _ := io.ReadAll(call.Body); string(body) != "protobuf bytes" {
			t.Errorf("body %q", body)
		}
		if got := call.Header.Get("Ce-Source"); got != "//firestore.googleapis.com/projects/p/databases/(default)" {
			t.Errorf("source %q", got)
		}
		if _, ok := call.Header["Ce-Datacontenttype"]; ok || call.Header.Get("Ce-Id") != "1" {
			t.Errorf("headers %v", call.Header)
		}
	}
}

func TestEventarcStopsWhileAFunctionFails(t *testing.T) {
	t.Parallel()
	called := make(chan struct{}, 100)
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		called <- struct{}{}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	(&eventarc{f.caller, quiet, ctx, &calling}).ServeHTTP(httptest.NewRecorder(), emulatorEvent(t, ""))
	<-called
	cancel()
	calling.Wait()
}

func newPush(f fixture) *push { return &push{caller: f.caller, log: quiet, attempts: map[string]int{}} }

// pushed has a push take a message and returns its answer.
func pushed(p *push, id string) int {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"subscription":"s","message":{"messageId":"`+id+`","data":"e30="}}`)))
	return w.Code
}

func TestPushMapsWhatAcknowledges(t *testing.T) {
	t.Parallel()
	var answer int
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) })
	p := newPush(f)
	for status, acknowledged := range map[int]bool{
		200: true, 201: true, 202: true, 204: true,
		203: false, 206: false, 301: false, 400: false, 404: false, 409: false, 429: false, 500: false, 503: false,
	} {
		answer = status
		want := http.StatusServiceUnavailable
		if acknowledged {
			want = http.StatusNoContent
		}
		if got := pushed(p, "1"); got != want {
			t.Errorf("the function answered %d: the emulator got %d, want %d", status, got, want)
		}
	}
}

func TestPushCountsAttempts(t *testing.T) {
	t.Parallel()
	type envelope struct {
		Subscription    string
		DeliveryAttempt int
		Message         struct{ MessageID, Data string }
	}
	var got []envelope
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		var e envelope
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		got = append(got, e)
		if len(got) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	p := newPush(f)
	for _, id := range []string{"a", "a", "a", "b"} {
		pushed(p, id)
	}
	for i, want := range []int{1, 2, 3, 1} {
		if e := got[i]; e.DeliveryAttempt != want || e.Subscription != "s" || e.Message.Data != "e30=" {
			t.Errorf("push %d: %+v, want attempt %d", i, e, want)
		}
	}
	if len(p.attempts) != 0 {
		t.Errorf("still counting %v", p.attempts)
	}
}

func TestPushOfAMissingFunctionIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	gone := httptest.NewServer(nil)
	gone.Close()
	f.caller.url = gone.URL
	if got := pushed(newPush(f), "1"); got != http.StatusServiceUnavailable {
		t.Errorf("the emulator got %d", got)
	}
}

func TestTickThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	if err := f.caller.tick(t.Context()); err != nil {
		t.Error(err)
	}
	status = http.StatusInternalServerError
	if err := f.caller.tick(t.Context()); err == nil {
		t.Error("a failed run is no error")
	}
}
