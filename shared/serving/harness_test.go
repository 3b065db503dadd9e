package serving_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// patience is when a test gives up. Nothing waits for it to pass.
const patience = 60 * time.Second

const audience = "keypackage-gateway"

// world is an empty database, and who issues tokens.
type world struct {
	*fixture.DB
	t      *testing.T
	issuer *identity.Issuer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	db := fixture.New(t)
	issuer, err := identity.Start(db.Project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Stop() })
	db.RelayAudience, db.Gateway.DeliveryCaller, db.Gateway.ProxyHops = audience, issuer.FunctionAccount(), 0
	return &world{db, t, issuer}
}

// instance is one gateway of several on the same database.
type instance struct {
	*assembly.Gateway
	w        *world
	ws, http string
	log      *lines
}

func (w *world) start() *instance {
	w.t.Helper()
	i := &instance{w: w, log: &lines{}}
	var err error
	if i.Gateway, err = assembly.NewGateway(w.t.Context(), w.Config, identity.At(w.issuer.Host()), logging.New(i.log, w.Project, "RelayGateway")); err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(i.Gateway)
	i.http, i.ws = server.URL, "ws"+strings.TrimPrefix(server.URL, "http")
	w.t.Cleanup(func() {
		i.end()
		server.Close()
	})
	return i
}

// end ends the instance as SIGTERM does. It may be called again.
func (i *instance) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	i.Close(ctx)
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// about returns the lines that are about something.
func (l *lines) about(t *testing.T, what string) (found []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["line"] == what {
			found = append(found, fields)
		}
	}
	return found
}

// client is a Nostr client that shows what was really sent.
type client struct {
	t         *testing.T
	conn      *websocket.Conn
	relay     string
	challenge string
	key       actors.Key
}

func (i *instance) dial() *client {
	i.w.t.Helper()
	ctx, cancel := context.WithTimeout(i.w.t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, i.ws, nil)
	if err != nil {
		i.w.t.Fatal(err)
	}
	conn.SetReadLimit(4 << 20)
	i.w.t.Cleanup(func() { _ = conn.CloseNow() })
	c := &client{t: i.w.t, conn: conn, relay: i.ws}
	c.challenge = c.await("AUTH")[1].(string)
	return c
}

// login opens a session and authenticates.
func (i *instance) login(key actors.Key) *client {
	i.w.t.Helper()
	c := i.dial()
	c.key = key
	c.authenticate()
	return c
}

func (c *client) authenticate() {
	c.t.Helper()
	e := sign(c.t, c.key, nostr.KindClientAuthentication, "", nostr.Tag{"relay", c.relay}, nostr.Tag{"challenge", c.challenge})
	c.send(`["AUTH",` + e.String() + `]`)
	c.accepted(e.ID)
}

func (c *client) send(frames ...string) {
	c.t.Helper()
	for _, frame := range frames {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		err := c.conn.Write(ctx, websocket.MessageText, []byte(frame))
		cancel()
		if err != nil {
			c.t.Fatalf("send: %v", err)
		}
	}
}

func (c *client) read() (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	return string(frame), err
}

// next returns the next frame, taken apart.
func (c *client) next() []any {
	c.t.Helper()
	frame, err := c.read()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	var parts []any
	if err := json.Unmarshal([]byte(frame), &parts); err != nil {
		c.t.Fatalf("got %s", frame)
	}
	return parts
}

// await returns the next frame, which must have that label.
func (c *client) await(label string) []any {
	c.t.Helper()
	parts := c.next()
	if parts[0] != label {
		c.t.Fatalf("got %v, want %s", parts, label)
	}
	return parts
}

func (c *client) accepted(id string) string {
	c.t.Helper()
	ok := c.await("OK")
	if ok[1] != id || ok[2] != true {
		c.t.Fatalf("got %v, want true for %s", ok, id)
	}
	return ok[3].(string)
}

// keyPackage returns the id of the KeyPackage that comes next, on that subscription. It is verified.
func (c *client) keyPackage(subscription string) string {
	c.t.Helper()
	parts := c.await("EVENT")
	if parts[1] != subscription {
		c.t.Fatalf("got an event on %v, want %s", parts[1], subscription)
	}
	return c.verified(parts[2]).ID
}

func (c *client) verified(event any) *nostr.Event {
	c.t.Helper()
	raw, err := json.Marshal(event)
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := keypackage.VerifyEvent(string(raw))
	if err != nil {
		c.t.Fatalf("%v: %s", err, raw)
	}
	return e
}

// outcome returns the rows of the outcome that comes next.
func (c *client) outcome(request string) []map[string]any {
	c.t.Helper()
	e := c.verified(c.await("EVENT")[2])
	var content struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal([]byte(e.Content), &content); err != nil || e.Kind != keypackage.KindOutcome || e.Tags.Find("e")[1] != request {
		c.t.Fatalf("got %v, want the outcome of %s", e, request)
	}
	return content.Rows
}

// untilEOSE returns the events' ids before the EOSE of that subscription.
func (c *client) untilEOSE(subscription string) (ids []string) {
	c.t.Helper()
	for {
		switch parts := c.next(); {
		case parts[0] == "EVENT" && parts[1] == subscription:
			ids = append(ids, c.verified(parts[2]).ID)
		case parts[0] == "EOSE" && parts[1] == subscription:
			return ids
		default:
			c.t.Fatalf("got %v, want the answer to %s", parts, subscription)
		}
	}
}

// eoseWithin is how long an EOSE waits for what is claimed.
const eoseWithin = 3 * time.Second

// ask asks for the owner's KeyPackages and returns what comes with the answer: before the EOSE, unless that could not wait any
// longer on this machine.
func (c *client) ask(subscription string, owner actors.Key) (ids []string) {
	c.t.Helper()
	asked := time.Now()
	c.send(asks(subscription, owner))
	ids = c.untilEOSE(subscription)
	if len(ids) == 0 && time.Since(asked) >= eoseWithin {
		ids = append(ids, c.keyPackage(subscription))
	}
	return ids
}

// nothing fails if anything comes before the answer to what only the frames before can delay.
func (c *client) nothing() {
	c.t.Helper()
	c.send(`["REQ","fence",{"kinds":[1],"limit":0}]`)
	if parts := c.await("EOSE"); parts[1] != "fence" {
		c.t.Fatalf("got %v", parts)
	}
}

func sign(t *testing.T, key actors.Key, kind int, content string, tags ...nostr.Tag) *nostr.Event {
	t.Helper()
	e := &nostr.Event{Kind: kind, Content: content, Tags: tags, CreatedAt: nostr.Now()}
	if err := key.Sign(e); err != nil {
		t.Fatal(err)
	}
	return e
}

func publish(e *nostr.Event) string { return `["EVENT",` + e.String() + `]` }

func asks(id string, owner actors.Key) string {
	return fmt.Sprintf(`["REQ",%q,{"kinds":[443],"authors":[%q]}]`, id, owner.Pubkey)
}

func listens(id string) string { return fmt.Sprintf(`["REQ",%q,{"kinds":[443,20447],"limit":0}]`, id) }

// question returns a signed 447.
func (c *client) question(q actors.Question) *nostr.Event {
	c.t.Helper()
	e := actors.NewRequest(q)
	if err := c.key.Sign(e); err != nil {
		c.t.Fatal(err)
	}
	return e
}

// stocked puts n KeyPackages of an owner in stock and returns their ids, oldest first.
func (w *world) stocked(owner actors.Key, n int) (ids []string) {
	w.t.Helper()
	packages := fixture.Packages(w.t, owner, n)
	w.PutPackages(packages...)
	for _, p := range packages {
		ids = append(ids, fixture.ID(p))
	}
	return ids
}

func (w *world) keyPackage(owner actors.Key, age time.Duration) *nostr.Event {
	w.t.Helper()
	created := nostr.Timestamp(time.Now().Add(-age).Unix())
	e, err := actors.NewKeyPackage(owner, "wss://relay.example", created, mlsgen.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// inStock returns the ids of what is in stock.
func (w *world) inStock() (ids []string) {
	w.t.Helper()
	for path := range w.In(w.Collections.KeyPackages) {
		ids = append(ids, path[strings.LastIndex(path, "/")+1:])
	}
	slices.Sort(ids)
	return ids
}

// deliveries returns the fields of all deliveries.
func (w *world) deliveries() (all []map[string]any) {
	w.t.Helper()
	for _, d := range w.In(w.Collections.Deliveries) {
		all = append(all, d.Fields)
	}
	return all
}

// eventually waits for something that happens beside what clients see.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("never: %s", what)
		}
	}
}
