package relayapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// sessions are a relay's, as a test wants them.
type sessions func(context.Context, delivering.Push) delivering.Results

func (s sessions) Push(ctx context.Context, p delivering.Push) delivering.Results { return s(ctx, p) }

// endpoint is an endpoint that a server serves, with a token of its caller.
type endpoint struct {
	url, token string
	issuer     issuer
}

func newEndpoint(t *testing.T, s sessions) endpoint {
	t.Helper()
	issuer := newIssuer(t)
	guard, err := NewGuard(issuer.caller())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(NewEndpoint(guard, s, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return endpoint{server.URL, "Bearer " + issuer.token(nil), issuer}
}

func (e endpoint) call(t *testing.T, method, authorization string, body io.Reader) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, e.url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(read)
}

var emptyPush = fmt.Sprintf(`{"request_event_id":%q,"requester_pubkey":%q,"expires_at":1,"outcome":{"rows":[]},"deliveries":[]}`,
	strings.Repeat("a", 64), strings.Repeat("b", 64))

func TestRefusals(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(context.Context, delivering.Push) delivering.Results { return delivering.Results{} })
	for name, tt := range map[string]struct {
		method, authorization, body string
		want                        int
	}{
		"good":           {http.MethodPost, e.token, emptyPush, 200},
		"GET":            {http.MethodGet, e.token, "", 405},
		"no token":       {http.MethodPost, "", emptyPush, 401},
		"somebody else":  {http.MethodPost, "Bearer " + e.issuer.token(claims{"email": "x@y.example"}), emptyPush, 403},
		"no JSON":        {http.MethodPost, e.token, "x", 400},
		"empty":          {http.MethodPost, e.token, "{}", 400},
		"no deliveries":  {http.MethodPost, e.token, strings.Replace(emptyPush, `,"deliveries":[]`, "", 1), 400},
		"null":           {http.MethodPost, e.token, strings.Replace(emptyPush, `"deliveries":[]`, `"deliveries":null`, 1), 400},
		"upper case":     {http.MethodPost, e.token, strings.Replace(emptyPush, "aaa", "AAA", 1), 400},
		"nameless":       {http.MethodPost, e.token, strings.Replace(emptyPush, `"deliveries":[]`, `"deliveries":[{}]`, 1), 400},
		"too large":      {http.MethodPost, e.token, emptyPush + strings.Repeat(" ", MaxRequestBytes), 413},
		"large, allowed": {http.MethodPost, e.token, emptyPush + strings.Repeat(" ", MaxRequestBytes-len(emptyPush)), 200},
	} {
		if got, answer := e.call(t, tt.method, tt.authorization, strings.NewReader(tt.body)); got != tt.want {
			t.Errorf("%s: got %d %s, want %d", name, got, answer, tt.want)
		}
	}
}

// Who is not the caller is answered before the body has come, however long that takes.
func TestStrangersBodyIsNotAwaited(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, nil)
	body, writer := io.Pipe()
	defer writer.Close()
	if got, _ := e.call(t, http.MethodPost, "", body); got != http.StatusUnauthorized {
		t.Errorf("answered %d", got)
	}
}

func TestPushesAreBounded(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	e := newEndpoint(t, func(context.Context, delivering.Push) delivering.Results {
		begun <- struct{}{}
		<-ended
		return delivering.Results{}
	})
	answers := make(chan int)
	for range maxPushes {
		go func() {
			status, _ := e.call(t, http.MethodPost, e.token, strings.NewReader(emptyPush))
			answers <- status
		}()
		<-begun
	}
	if got, _ := e.call(t, http.MethodPost, e.token, strings.NewReader(emptyPush)); got != http.StatusTooManyRequests {
		t.Errorf("one too many was answered %d", got)
	}
	close(ended)
	for range maxPushes {
		if got := <-answers; got != http.StatusOK {
			t.Errorf("one of the first was answered %d", got)
		}
	}
}

// What a client sends reaches the sessions as it was meant, and what they answer reaches the client.
func TestAPushGoesThereAndBack(t *testing.T) {
	t.Parallel()
	want := map[string]keypackage.PushResult{"d1": keypackage.ResultDelivered, "d2": keypackage.ResultNoSubscription}
	var got delivering.Push
	e := newEndpoint(t, func(_ context.Context, p delivering.Push) delivering.Results {
		got = p
		return delivering.Results{Each: want}
	})
	sent, owner := push(), strings.Repeat("c", 64)
	for i, d := range sent.Deliveries {
		d.PackageID, d.Owner = strings.Repeat(fmt.Sprint(i), 64), owner
	}
	sent.Outcome = []keypackage.Row{{
		Owner: owner, Requested: 2, Granted: 1, Reserve: true, Reason: "partial", RetryAt: time.Unix(1795415479, 0),
		Packages: []keypackage.Granted{{ID: strings.Repeat("0", 64)}, {ID: strings.Repeat("1", 64), Reserve: true}},
	}, {Owner: owner, Requested: 1, Reason: "unusable"}}
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		validate(t, "DeliveryRequest", body)
		status, answer := e.call(t, http.MethodPost, e.token, strings.NewReader(string(body)))
		validate(t, "DeliveryResponse", []byte(answer))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
	results := client.Push(t.Context(), sent)
	if !reflect.DeepEqual(results.Each, want) || results.Err != nil {
		t.Errorf("answered %+v", results)
	}
	if got.RequestID != sent.RequestID || got.Requester != sent.Requester || !got.ExpiresAt.Equal(sent.ExpiresAt) ||
		!reflect.DeepEqual(got.Outcome, sent.Outcome) || len(got.Deliveries) != 2 {
		t.Fatalf("pushed %+v, want %+v", got, sent)
	}
	for i, d := range got.Deliveries {
		if d.ID != sent.Deliveries[i].ID || d.PackageID != sent.Deliveries[i].PackageID || d.Owner != owner || d.Package.Text(keypackage.FieldEvent) != sent.Deliveries[i].Package.Text(keypackage.FieldEvent) {
			t.Errorf("delivery %d is %+v, want %+v", i, d, sent.Deliveries[i])
		}
	}
}
