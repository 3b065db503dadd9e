package relay

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip42"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// live is a relay on a real port with a real Firestore emulator.
type live struct {
	*Relay
	address   string
	issuer    *identity.Issuer
	documents *firestore.Client
	names     config.Collections
	nudges    chan string
}

// serve starts a relay; change may alter its configuration.
func serve(t *testing.T, change func(*Config)) *live {
	t.Helper()
	project := emutest.Project(t)
	settings, err := config.Load(func(name string) (string, bool) {
		value, ok := map[string]string{config.Project: project}[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := firestore.NewClient(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := identity.Start(project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Stop() })
	l := &live{issuer: issuer, documents: documents, names: settings.Collections, nudges: make(chan string, 100)}
	c := Config{
		Firestore: documents, Collections: l.names, Caller: relayapi.Caller{
			Issuer: relayapi.Issuer{Name: issuer.URL(), KeysURL: issuer.KeysURL()}, Audience: audience, Email: issuer.FunctionAccount(),
		}, Log: slog.New(slog.DiscardHandler),
		Nudge: func(_ context.Context, requester string) error { l.nudges <- requester; return nil },
	}
	if change != nil {
		change(&c)
	}
	if l.Relay, err = New(c); err != nil {
		t.Fatal(err)
	}
	l.listen(t)
	return l
}

const audience = "https://relay.example"

// token is an ID token of an account for the relay.
func (l *live) token(t *testing.T, account string) string {
	t.Helper()
	token, err := l.issuer.Mint(audience, account)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (l *live) listen(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.address = listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = l.documents.Close()
	})
}

// nudge waits for one nudge.
func (l *live) nudge(t *testing.T) string {
	t.Helper()
	select {
	case requester := <-l.nudges:
		return requester
	case <-time.After(patience):
		t.Fatal("no nudge")
		return ""
	}
}

// user is a Nostr client that shows every frame as it came.
type user struct {
	t              *testing.T
	secret, pubkey string
	address        string
	dialer         *http.Client // nil: the default
	conn           *websocket.Conn
	challenge      string // of the connection
}

func (l *live) join(t *testing.T) *user {
	t.Helper()
	u := &user{t: t, secret: nostr.GeneratePrivateKey(), address: l.address}
	u.pubkey, _ = nostr.GetPublicKey(u.secret)
	u.connect()
	return u
}

// again opens a second connection of the same user.
func (u *user) again() *user {
	other := *u
	other.connect()
	return &other
}

func (u *user) connect() {
	u.t.Helper()
	conn, _, err := websocket.Dial(u.t.Context(), "ws://"+u.address, &websocket.DialOptions{HTTPClient: u.dialer})
	if err != nil {
		u.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	u.t.Cleanup(func() { _ = conn.CloseNow() })
	u.conn = conn
	challenge, _ := u.next("AUTH")
	u.challenge = text(u.t, challenge[1])
}

func (u *user) send(message ...any) {
	u.t.Helper()
	b, err := json.Marshal(message)
	if err != nil {
		u.t.Fatal(err)
	}
	if err := u.conn.Write(u.t.Context(), websocket.MessageText, b); err != nil {
		u.t.Fatal(err)
	}
}

// next returns the next message with that label, and the frame; others are skipped.
func (u *user) next(label string) (message []json.RawMessage, frame string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), patience)
	defer cancel()
	for {
		_, b, err := u.conn.Read(ctx)
		if err != nil {
			u.t.Fatalf("waiting for %s: %v", label, err)
		}
		if err := json.Unmarshal(b, &message); err != nil {
			u.t.Fatalf("%s: %v", b, err)
		}
		if string(message[0]) == `"`+label+`"` {
			return message, string(b)
		}
	}
}

func text(t *testing.T, raw json.RawMessage) (s string) {
	t.Helper()
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// login authenticates.
func (u *user) login() *user {
	u.t.Helper()
	proof := nip42.CreateUnsignedAuthEvent(u.challenge, u.pubkey, "ws://"+u.address)
	u.sign(&proof)
	u.send("AUTH", proof)
	if ok, _ := u.next("OK"); string(ok[2]) != "true" {
		u.t.Fatal("authentication failed")
	}
	return u
}

func (u *user) sign(event *nostr.Event) {
	u.t.Helper()
	if err := event.Sign(u.secret); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) event(kind int, content string, tags ...nostr.Tag) *nostr.Event {
	u.t.Helper()
	e := &nostr.Event{Kind: kind, Content: content, Tags: tags, CreatedAt: nostr.Now()}
	u.sign(e)
	return e
}

// publish returns the relay's reason for refusing the event, or "".
func (u *user) publish(event *nostr.Event) string {
	u.t.Helper()
	u.send("EVENT", event)
	ok, frame := u.next("OK")
	if text(u.t, ok[1]) != event.ID {
		u.t.Fatalf("got %s", frame)
	}
	if string(ok[2]) == "true" {
		return ""
	}
	return text(u.t, ok[3])
}

func (u *user) mustPublish(event *nostr.Event) *nostr.Event {
	u.t.Helper()
	if reason := u.publish(event); reason != "" {
		u.t.Fatalf("kind %d was refused: %s", event.Kind, reason)
	}
	return event
}

// stored subscribes and returns the ids of the stored events.
func (u *user) stored(subscription string, filters ...nostr.Filter) []string {
	u.t.Helper()
	request := []any{"REQ", subscription}
	for _, f := range filters {
		request = append(request, f)
	}
	u.send(request...)
	var ids []string
	for {
		_, b, err := u.conn.Read(u.t.Context())
		if err != nil {
			u.t.Fatal(err)
		}
		var message []json.RawMessage
		if err := json.Unmarshal(b, &message); err != nil {
			u.t.Fatal(err)
		}
		switch string(message[0]) {
		case `"EOSE"`:
			return ids
		case `"EVENT"`:
			var e nostr.Event
			if err := json.Unmarshal(message[2], &e); err != nil {
				u.t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
	}
}

// push calls the delivery endpoint as the functions do, with a token of the test's issuer, and checks both messages
// against the OpenAPI document.
func (l *live) push(t *testing.T, push relayapi.DeliveryRequest) map[string]relayapi.Status {
	t.Helper()
	push.RequestEventID = strings.Repeat("a", 64)
	if push.ExpiresAt == 0 {
		push.ExpiresAt = time.Now().Add(time.Minute).Unix()
	}
	return l.pushAs(t, push)
}

func (l *live) pushAs(t *testing.T, push relayapi.DeliveryRequest) map[string]relayapi.Status {
	t.Helper()
	front := httptest.NewServer(recorded(t, l.address, "Bearer "+l.token(t, l.issuer.FunctionAccount())))
	defer front.Close()
	client, err := relayapi.New(front.URL+relayapi.Path, "")
	if err != nil {
		t.Fatal(err)
	}
	results := client.Push(t.Context(), pushOf(push))
	if results.Whole != "" {
		t.Fatalf("got %+v", results)
	}
	statuses := map[string]relayapi.Status{}
	for id, result := range results.Each {
		statuses[id] = relayapi.Status(result)
	}
	return statuses
}

// pushOf returns the push that becomes this message.
func pushOf(m relayapi.DeliveryRequest) delivering.Push {
	push := delivering.Push{RequestID: m.RequestEventID, Requester: m.RequesterPubkey, ExpiresAt: time.Unix(m.ExpiresAt, 0)}
	for _, r := range m.Outcome.Rows {
		push.Outcome = append(push.Outcome, keypackage.Row{
			Owner: r.Owner, Requested: r.Requested, Granted: r.Granted, Reserve: r.LastResort, Reason: r.Reason,
		})
	}
	for _, d := range m.Deliveries {
		push.Deliveries = append(push.Deliveries, &keypackage.Delivery{
			ID: d.ID, PackageID: d.KeyPackageEventID, Owner: d.OwnerPubkey, Package: keypackage.Document{keypackage.FieldEvent: d.Event},
		})
	}
	return push
}

func deliveryOf(e *nostr.Event) relayapi.Delivery {
	return relayapi.Delivery{ID: "d-" + e.ID, KeyPackageEventID: e.ID, OwnerPubkey: e.PubKey, Event: e.String()}
}

// pushOne pushes one event and checks the answer.
func (l *live) pushOne(t *testing.T, requester string, d relayapi.Delivery, want relayapi.Status) {
	t.Helper()
	got := l.push(t, relayapi.DeliveryRequest{RequesterPubkey: requester, Deliveries: []relayapi.Delivery{d}})
	if got[d.ID] != want {
		t.Errorf("got %q, want %q", got[d.ID], want)
	}
}

func (l *live) document(t *testing.T, collection, id string) map[string]any {
	t.Helper()
	document, err := l.documents.Collection(collection).Doc(id).Get(t.Context())
	if document != nil && !document.Exists() {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return document.Data()
}
