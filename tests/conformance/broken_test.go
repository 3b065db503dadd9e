package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// broken puts something in front of the endpoint of a gateway. change returns the request as it is passed on, or nil
// if it has been answered.
func broken(t *testing.T, change func(http.ResponseWriter, *http.Request, []byte) []byte) Target {
	t.Helper()
	target := serve(t, map[string]string{config.RequestsServedBy: string(config.ServedByFunctions)}) // so that everything comes through the endpoint
	behind := target.Endpoint
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if body = change(w, r, body); body == nil {
			return
		}
		request, _ := http.NewRequestWithContext(r.Context(), r.Method, behind, bytes.NewReader(body))
		request.Header = r.Header.Clone()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
	}))
	t.Cleanup(front.Close)
	target.Endpoint = front.URL + relayapi.Path
	return target
}

// rewritten changes every push that can be read.
func rewritten(change func(*relayapi.DeliveryRequest)) func(http.ResponseWriter, *http.Request, []byte) []byte {
	return func(_ http.ResponseWriter, _ *http.Request, body []byte) []byte {
		var push relayapi.DeliveryRequest
		if json.Unmarshal(body, &push) != nil || push.Deliveries == nil {
			return body
		}
		change(&push)
		return encode(push)
	}
}

// judge checks only the rules that are named, which are the ones that the relay breaks, and some that it keeps.
func judge(t *testing.T, target Target, names ...string) (fails []string) {
	t.Helper()
	for _, r := range rules {
		if !slices.Contains(names, r.name) {
			continue
		}
		if err := target.try(t.Context(), r.check); err != nil && !errors.Is(err, errNotChecked) {
			t.Logf("%s: %v", r.name, err)
			fails = append(fails, r.name)
		}
	}
	return fails
}

func TestBrokenEndpointsAreNamed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change      func(http.ResponseWriter, *http.Request, []byte) []byte
		breaks      []string
		alsoChecked []string
	}{
		"it re-encodes events": {rewritten(func(push *relayapi.DeliveryRequest) {
			for i, d := range push.Deliveries {
				var compact bytes.Buffer
				if json.Compact(&compact, []byte(d.Event)) == nil {
					push.Deliveries[i].Event = compact.String()
				}
			}
		}), []string{"verbatim"}, []string{"limit"}},
		"it ignores expires_at": {rewritten(func(push *relayapi.DeliveryRequest) {
			push.ExpiresAt = time.Now().Add(time.Minute).Unix()
		}), []string{"expired"}, []string{"verbatim"}},
		"it sends everything twice": {rewritten(func(push *relayapi.DeliveryRequest) {
			for _, d := range push.Deliveries {
				d.ID += " again"
				push.Deliveries = append(push.Deliveries, d)
			}
		}), []string{"requester-only", "once", "limit"}, []string{"no-session"}},
		"it redirects": {func(w http.ResponseWriter, r *http.Request, _ []byte) []byte {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return nil
		}, []string{"direct-answer", "no-session"}, nil},
		"it says delivered whatever happens": {func(w http.ResponseWriter, _ *http.Request, body []byte) []byte {
			var push relayapi.DeliveryRequest
			_ = json.Unmarshal(body, &push)
			response := relayapi.DeliveryResponse{Results: []relayapi.Result{}}
			for _, d := range push.Deliveries {
				response.Results = append(response.Results, relayapi.Result{ID: d.ID, Status: relayapi.Delivered})
			}
			_ = json.NewEncoder(w).Encode(response)
			return nil
		}, []string{"token", "caller", "method", "malformed", "no-session", "no-subscription", "unknown-event", "rejected", "expired"}, []string{"direct-answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fails := judge(t, broken(t, tt.change), slices.Concat(tt.breaks, tt.alsoChecked)...)
			if strings.Join(fails, " ") != strings.Join(tt.breaks, " ") {
				t.Errorf("named were %v, broken are %v", fails, tt.breaks)
			}
		})
	}
}

// That something is missing shows when its time is over: the only verdict here that waits, and lateness would not change it.
func TestAMissingOutcomeIsNamed(t *testing.T) {
	t.Parallel()
	target := broken(t, rewritten(func(push *relayapi.DeliveryRequest) { push.Outcome.Rows = nil }))
	target.Slack = 0
	if fails := judge(t, target, "outcome"); !slices.Equal(fails, []string{"outcome"}) {
		t.Errorf("named were %v", fails)
	}
}

// A relay tells what it was given to tell.
func TestAnotherOutcomeIsNamed(t *testing.T) {
	t.Parallel()
	target := broken(t, rewritten(func(push *relayapi.DeliveryRequest) { push.Outcome.Rows[0].Reason = "" }))
	if fails := judge(t, target, "outcome"); !slices.Equal(fails, []string{"outcome"}) {
		t.Errorf("named were %v", fails)
	}
}

// gossip is a relay that tells everybody everything: what an ordinary relay does that knows nothing of the contract.
type gossip struct {
	mu            sync.Mutex
	events        []nostr.Event
	subscriptions map[*websocket.Conn]map[string]nostr.Filter
	challenge     string // the label after which it asks who is there: "" is the connection itself, "never" none
}

func (g *gossip) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxFrame)
	if g.challenge == "" {
		g.send(conn, "AUTH", "a challenge")
	}
	parser := nostr.NewMessageParser()
	for {
		_, frame, err := conn.Read(r.Context())
		if err != nil {
			g.mu.Lock()
			delete(g.subscriptions, conn)
			g.mu.Unlock()
			return
		}
		if envelope, err := parser.ParseMessage(string(frame)); err == nil {
			if envelope.Label() == g.challenge {
				g.send(conn, "AUTH", "a challenge")
			}
			g.handle(conn, envelope)
		}
	}
}

func (g *gossip) handle(conn *websocket.Conn, envelope nostr.Envelope) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m := envelope.(type) {
	case *nostr.AuthEnvelope:
		g.send(conn, "OK", m.Event.ID, true, "")
	case *nostr.EventEnvelope:
		g.events = append(g.events, m.Event)
		g.send(conn, "OK", m.Event.ID, true, "")
		for other, filters := range g.subscriptions {
			g.show(other, filters, &m.Event)
		}
	case *nostr.ReqEnvelope:
		mine := map[string]nostr.Filter{m.SubscriptionID: m.Filters[0]}
		for _, event := range g.events {
			g.show(conn, mine, &event)
		}
		g.subscriptions[conn] = mine // one is enough here
		g.send(conn, "EOSE", m.SubscriptionID)
	}
}

func (g *gossip) show(conn *websocket.Conn, filters map[string]nostr.Filter, event *nostr.Event) {
	for id, filter := range filters {
		if filter.Matches(event) {
			g.send(conn, "EVENT", id, event)
		}
	}
}

func (g *gossip) send(conn *websocket.Conn, message ...any) {
	frame, _ := json.Marshal(message)
	ctx, cancel := context.WithTimeout(context.Background(), arrivalTime)
	defer cancel()
	_ = conn.Write(ctx, websocket.MessageText, frame)
}

func serveGossip(t *testing.T, challenge string) Target {
	t.Helper()
	server := httptest.NewServer(&gossip{subscriptions: map[*websocket.Conn]map[string]nostr.Filter{}, challenge: challenge})
	t.Cleanup(server.Close)
	return Target{
		Relay: strings.Replace(server.URL, "http", "ws", 1), Endpoint: server.URL + relayapi.Path, Token: "x.y.z",
		Quiet: quiet, Slack: slack,
	}
}

func TestALazyRelayIsAskedForItsChallenge(t *testing.T) {
	t.Parallel()
	if err := serveGossip(t, "REQ").try(t.Context(), func(p *probe) { p.visit(p.requester) }); err != nil {
		t.Fatal(err)
	}
}

// A relay that never challenges breaks what needs a challenge, and is judged by the rest all the same.
func TestChecksGoOnWithoutAChallenge(t *testing.T) {
	t.Parallel()
	target := serveGossip(t, "never")
	target.Slack = 0
	ctx, stop := context.WithCancel(t.Context())
	var judged []string
	var errs []error
	_ = Run(ctx, target, func(r rule, err error) {
		judged, errs = append(judged, r.name), append(errs, err)
		if len(judged) == 3 { // needs none
			stop()
		}
	})
	if len(judged) != 3 || errs[0] == nil || !strings.Contains(errs[0].Error(), "challenge") || judged[2] != "token" {
		t.Errorf("judged were %v: %v", judged, errs)
	}
}

func TestAnOrdinaryRelayIsNamed(t *testing.T) {
	t.Parallel()
	target := serveGossip(t, "")
	want := []string{"stored-443", "new-443", "token", "direct-answer", "stored-447", "deleted", "outcome", "announced", "auth-required", "several-keys", "order", "answered", "req"}
	if fails := judge(t, target, want...); !slices.Equal(fails, want) {
		t.Errorf("named were %v, broken are %v", fails, want)
	}
}

func TestARelayThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), Target{Relay: "ws://127.0.0.1:1"}, func(r rule, _ error) { t.Errorf("judged: %v", r.name) })
	if err == nil || !strings.Contains(err.Error(), "go run ./emulator up") {
		t.Errorf("got %v", err)
	}
}
