package actors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// speaker is who speaks for stooges.
var speaker = actors.NewKey()

// stooge is a relay that does what a test tells it: it accepts every authentication, and answers each further message
// with the frames that answer returns. What a relay should do is tested with the gateway.
func stooge(t *testing.T, answer func(label string, parts []json.RawMessage) []string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			fmt.Fprintf(w, `{"keypackages":{"pubkey":%q,"outcome_kind":%d,"notice_kind":%d}}`, speaker.Pubkey, keypackage.KindOutcome, keypackage.KindLevel)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		say := func(frame string) error { return conn.Write(r.Context(), websocket.MessageText, []byte(frame)) }
		err = say(`["AUTH","challenge"]`)
		for err == nil {
			var frame []byte
			if _, frame, err = conn.Read(r.Context()); err != nil {
				return
			}
			label, parts := split(t, frame)
			frames := answer(label, parts)
			if label == "AUTH" {
				frames = []string{accepted(parts)}
			}
			for _, frame := range frames {
				err = errors.Join(err, say(frame))
			}
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func split(t *testing.T, frame []byte) (label string, parts []json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal(frame, &parts); err != nil || json.Unmarshal(parts[0], &label) != nil {
		t.Errorf("not a message: %s", frame)
	}
	return label, parts
}

// accepted is the OK to an EVENT or AUTH message.
func accepted(parts []json.RawMessage) string {
	var event struct{ ID string }
	_ = json.Unmarshal(parts[1], &event)
	return fmt.Sprintf(`["OK",%q,true,""]`, event.ID)
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// serving answers every subscription with the events, and its end.
func serving(events ...string) func(string, []json.RawMessage) []string {
	return func(label string, parts []json.RawMessage) []string {
		if label != "REQ" {
			return nil
		}
		var frames []string
		for _, event := range events {
			frames = append(frames, fmt.Sprintf(`["EVENT",%s,%s]`, parts[1], event))
		}
		return append(frames, fmt.Sprintf(`["EOSE",%s]`, parts[1]))
	}
}

func keyPackage(t *testing.T, key actors.Key, options mlsgen.Options) *nostr.Event {
	t.Helper()
	event, err := actors.NewKeyPackage(key, "ws://relay.example", nostr.Now(), options)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func TestReceivedBytesAreKept(t *testing.T) {
	t.Parallel()
	bob := actors.NewKey()
	event := keyPackage(t, bob, mlsgen.Options{LastResort: true})
	odd := strings.Replace(event.String(), `"pubkey":`, `  "pubkey": `, 1) // still the same signed event
	alice := actors.NewRequester(stooge(t, serving(odd)), actors.NewKey())
	if err := alice.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	defer alice.Disconnect()
	if err := alice.Subscribe(deadline(t), "x", nostr.Filter{Kinds: []int{443}}); err != nil {
		t.Fatal(err)
	}
	received, err := alice.AwaitKeyPackages(deadline(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if received[0].Raw != odd || received[0].Event.ID != event.ID {
		t.Errorf("received %q, want %q", received[0].Raw, odd)
	}
}

func TestWhatDoesNotVerifyIsAnError(t *testing.T) {
	t.Parallel()
	bob, mallory := actors.NewKey(), actors.NewKey()
	good := keyPackage(t, bob, mlsgen.Options{})
	resign := func(change func(*nostr.Event)) string {
		event := *good
		change(&event)
		if err := bob.Sign(&event); err != nil {
			t.Fatal(err)
		}
		return event.String()
	}
	broken := keyPackage(t, bob, mlsgen.Options{Edit: func(kp *mls.KeyPackage) { kp.LeafNode.EncryptionKey = kp.InitKey }})
	tests := map[string]string{
		"content changed":          strings.Replace(good.String(), `"content":"`, `"content":"AA`, 1),
		"signature of zeros":       strings.Replace(good.String(), good.Sig, strings.Repeat("0", 128), 1),
		"id of zeros":              strings.Replace(good.String(), good.ID, strings.Repeat("0", 64), 1),
		"another kind":             resign(func(e *nostr.Event) { e.Kind = 1 }),
		"no KeyPackage":            resign(func(e *nostr.Event) { e.Content = "hello" }),
		"somebody else's package":  resign(func(e *nostr.Event) { e.Content = keyPackage(t, mallory, mlsgen.Options{}).Content }),
		"another reference":        resign(func(e *nostr.Event) { e.Tags = nostr.Tags{{"i", strings.Repeat("0", 64)}} }),
		"KeyPackage breaks a rule": broken.String(),
		"not an event":             `7`,
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := actors.NewRequester(stooge(t, serving(raw)), actors.NewKey())
			if err := alice.Connect(deadline(t)); err != nil {
				t.Fatal(err)
			}
			defer alice.Disconnect()
			if err := alice.Subscribe(deadline(t), "x", nostr.Filter{}); err != nil {
				t.Fatal(err)
			}
			if received, err := alice.AwaitKeyPackages(deadline(t), 1); err == nil || len(received) > 0 {
				t.Errorf("AwaitKeyPackages = %d, %v; want an error", len(received), err)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	notice := &nostr.Event{
		Kind: keypackage.KindOutcome, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"e", "request"}},
		Content: `{"rows":[{"owner":"bob","requested":2,"granted":1,"last_resort":true,"reason":"partial","keypackages":[{"id":"k","last_resort":true}]}]}`,
	}
	forged := *notice
	forged.Content = `{"rows":[]}`
	if err := errors.Join(speaker.Sign(notice), actors.NewKey().Sign(&forged)); err != nil {
		t.Fatal(err)
	}
	alice := actors.NewRequester(stooge(t, func(label string, parts []json.RawMessage) []string {
		if label == "REQ" && string(parts[1]) == `"outcomes"` {
			return serving(forged.String(), notice.String())(label, parts)
		}
		return serving()(label, parts)
	}), actors.NewKey())
	if err := alice.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	defer alice.Disconnect()
	if err := alice.Listen(deadline(t), "bob"); err != nil {
		t.Fatal(err)
	}
	outcome, err := alice.AwaitOutcome(deadline(t), "request")
	if err != nil {
		t.Fatal(err)
	}
	if len(outcome.Rows) != 1 {
		t.Fatal("believed what a stranger has signed")
	}
	if row := outcome.Rows[0]; row.Owner != "bob" || row.Granted != 1 || !row.LastResort || row.Reason != "partial" ||
		!slices.Equal(row.KeyPackages, []relayapi.Granted{{ID: "k", LastResort: true}}) {
		t.Errorf("outcome %+v", outcome)
	}
}

func TestStockIsSorted(t *testing.T) {
	t.Parallel()
	bob := actors.NewKey()
	older, newer := keyPackage(t, bob, mlsgen.Options{}), keyPackage(t, bob, mlsgen.Options{})
	older.CreatedAt--
	if err := bob.Sign(older); err != nil {
		t.Fatal(err)
	}
	owner, err := actors.ConnectOwner(deadline(t), stooge(t, serving(newer.String(), older.String())), bob)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Disconnect()
	for range 2 { // a subscription that was closed can be opened again
		stock, err := owner.Stock(deadline(t))
		if err != nil || len(stock) != 2 || stock[0].ID != older.ID || stock[1].ID != newer.ID {
			t.Errorf("Stock = %v, %v; want the older one first", stock, err)
		}
	}
}

func TestRefusalsAreErrors(t *testing.T) {
	t.Parallel()
	url := stooge(t, func(label string, parts []json.RawMessage) []string {
		switch label {
		case "EVENT":
			return []string{strings.Replace(accepted(parts), `true,""`, `false,"blocked: no"`, 1)}
		case "REQ":
			return []string{fmt.Sprintf(`["CLOSED",%s,"auth-required: who are you?"]`, parts[1])}
		}
		return nil
	})
	owner, err := actors.ConnectOwner(deadline(t), url, actors.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Disconnect()
	if _, err := owner.Stockpile(deadline(t), 1); !errors.Is(err, actors.ErrRefused) || !strings.Contains(err.Error(), "blocked: no") {
		t.Errorf("Stockpile: %v, want a refusal with its reason", err)
	}
	if _, err := owner.Stock(deadline(t)); !errors.Is(err, actors.ErrRefused) || !strings.Contains(err.Error(), "who are you") {
		t.Errorf("Stock: %v, want a refusal with its reason", err)
	}
}

func TestNothingWaitsForALostSession(t *testing.T) {
	t.Parallel()
	silent := func(string, []json.RawMessage) []string { return nil }
	alice := actors.NewRequester(stooge(t, silent), actors.NewKey())
	if err := alice.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() {
		_, err := alice.Ask(context.Background(), actors.Question{Owners: []string{"bob"}})
		waiting <- err
	}()
	alice.Disconnect()
	if err := <-waiting; err == nil {
		t.Error("Ask succeeded without an answer")
	}
	if err := alice.Listen(context.Background(), "bob"); err == nil {
		t.Error("Listen succeeded while offline")
	}
}

func TestRequestTags(t *testing.T) {
	t.Parallel()
	key := actors.NewKey()
	owners := []string{strings.Repeat("a", 64), strings.Repeat("b", 64)}
	event := actors.NewRequest(actors.Question{Owners: owners, Min: 3, Ciphersuite: "0x0001", TTL: time.Hour, Group: "g"})
	if err := key.Sign(event); err != nil {
		t.Fatal(err)
	}
	document := keypackage.RequestDocument{ID: event.ID, Event: event.String(), Kind: 447, HasKind: true, ReceivedAt: time.Now()}
	request, err := keypackage.ParseRequest(document, 10)
	if err != nil {
		t.Fatal(err)
	}
	if request.Requester != key.Pubkey || len(request.Owners) != 2 || request.Min != 3 || request.AnySuite {
		t.Errorf("request %+v", request)
	}
	if got := request.ValidUntil.Sub(request.CreatedAt); got != time.Hour {
		t.Errorf("valid for %v, want one hour", got)
	}
	if again := actors.NewRequest(actors.Question{Owners: owners}); again.GetID() == actors.NewRequest(actors.Question{Owners: owners}).GetID() {
		t.Error("two requests of one second are one event")
	}
}
