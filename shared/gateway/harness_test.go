package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	ordinary "github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
)

// patience is when a test gives up. Nothing waits for it to pass.
const patience = 20 * time.Second

// relay is a gateway that serves websockets, with everything around it.
type relay struct {
	*store
	url  string // ws://
	http string
	log  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts a gateway before an ordinary relay; edit changes that.
func start(t testing.TB, edit func(*gateway.Config)) *relay {
	t.Helper()
	return startBefore(t, ordinary.New(), edit)
}

// alone starts a gateway without upstream.
func alone(t testing.TB) *relay {
	return start(t, func(c *gateway.Config) { c.Upstream = nil })
}

// startBefore starts a gateway before the relay that handler is.
func startBefore(t testing.TB, handler http.Handler, edit func(*gateway.Config)) *relay {
	t.Helper()
	behind := httptest.NewServer(handler)
	t.Cleanup(behind.Close)
	r := &relay{store: &store{}, log: &safeBuffer{}}
	c := gateway.Config{
		Upstream: upstream.New(address(t, behind.URL)), Hosts: []string{"localhost", "127.0.0.1"}, Pubkey: pub(nostr.GeneratePrivateKey()), ReqClaims: true,
		Ports: gateway.Ports{Publisher: r.store, Stock: r.store, Requests: r.store, Levels: r.store, Switch: r.store},
		Log:   slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if edit != nil {
		edit(&c)
	}
	g, err := gateway.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.gateway = g
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		g.Close(ctx)
	})
	r.http, r.url = server.URL, "ws"+strings.TrimPrefix(server.URL, "http")
	return r
}

func address(t testing.TB, server string) *url.URL {
	t.Helper()
	u, err := url.Parse("ws" + strings.TrimPrefix(server, "http"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// client is a websocket that shows what was really sent.
type client struct {
	t         testing.TB
	conn      *websocket.Conn
	relay     string
	challenge string
}

// dial opens a session and takes its challenge.
func (r *relay) dial(t testing.TB) *client {
	t.Helper()
	return r.dialAs(t, nil)
}

func (r *relay) dialAs(t testing.TB, header http.Header) *client {
	t.Helper()
	c := connect(t, r.url, header)
	c.challenge = c.await("AUTH")[1].(string)
	return c
}

func connect(t testing.TB, url string, header http.Header) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(4 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{t: t, conn: conn, relay: url}
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

// next returns the next frame. khatru ends its own with a line feed.
func (c *client) next() string {
	c.t.Helper()
	return strings.TrimSuffix(c.exactly(), "\n")
}

// exactly returns the next frame, byte for byte.
func (c *client) exactly() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return string(frame)
}

// await returns the next frame, which must have that label.
func (c *client) await(label string) []any {
	c.t.Helper()
	frame := c.next()
	var parts []any
	if err := json.Unmarshal([]byte(frame), &parts); err != nil || parts[0] != label {
		c.t.Fatalf("got %s, want %s", frame, label)
	}
	return parts
}

// expect fails unless these frames come next, in this order.
func (c *client) expect(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			c.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// ended returns the code of the close frame that must come next.
func (c *client) ended() websocket.StatusCode {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	if err == nil {
		c.t.Fatalf("got %s, want the end", frame)
	}
	return websocket.CloseStatus(err)
}

// refused fails unless the event with that id is answered with OK false and a reason that begins like this.
func (c *client) refused(id, prefix string) {
	c.t.Helper()
	ok := c.await("OK")
	if ok[1] != id || ok[2] != false || !strings.HasPrefix(ok[3].(string), prefix) {
		c.t.Fatalf("got %v, want false for %s, %s", ok, id, prefix)
	}
}

func (c *client) accepted(id string) {
	c.t.Helper()
	if ok := c.await("OK"); ok[1] != id || ok[2] != true {
		c.t.Fatalf("got %v, want true for %s", ok, id)
	}
}

// closed fails unless the subscription is closed for a reason that begins like this.
func (c *client) closed(id, prefix string) {
	c.t.Helper()
	if got := c.await("CLOSED"); got[1] != id || !strings.HasPrefix(got[2].(string), prefix) {
		c.t.Fatalf("got %v, want %s closed, %s", got, id, prefix)
	}
}

func (c *client) auth(key string, tags ...nostr.Tag) gateway.Event {
	if tags == nil {
		tags = nostr.Tags{{"relay", c.relay}, {"challenge", c.challenge}}
	}
	return signed(key, nostr.KindClientAuthentication, "", tags...)
}

// login authenticates, and returns the public key.
func (c *client) login(key string) string {
	c.t.Helper()
	e := c.auth(key)
	c.send(`["AUTH",` + e.Raw + `]`)
	c.accepted(e.ID)
	return e.PubKey
}

func publish(e gateway.Event) string { return `["EVENT",` + e.Raw + `]` }

func delivery(id string, e gateway.Event) string { return fmt.Sprintf(`["EVENT",%q,%s]`, id, e.Raw) }

func req(id, filter string, values ...any) string {
	return fmt.Sprintf(`["REQ",%q,`, id) + fmt.Sprintf(filter, values...) + `]`
}

// eventually waits for something that happens beside what a client sees.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// any returns the next frame, taken apart.
func (c *client) any() []any {
	c.t.Helper()
	frame := c.next()
	var parts []any
	if err := json.Unmarshal([]byte(frame), &parts); err != nil {
		c.t.Fatalf("got %s", frame)
	}
	return parts
}
