package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

// At the end everything that came before is dealt with and told, then every client is sent a close frame.
func TestClose(t *testing.T) {
	t.Parallel()
	r, alice, bob := start(t, nil), newKey(), newKey()
	stock := r.stocked(bob, 443, 443)
	r.hold = make(chan struct{})
	c, idle := r.dial(t), r.dial(t)
	c.login(alice)
	request := signed(alice, 447, "", nostr.Tag{"p", pub(bob)})
	c.send(publish(request), req("a", `{"kinds":[443],"authors":[%q]}`, pub(bob)))
	c.accepted(request.ID)
	eventually(t, "a claim", func() bool { return look(r.store, func(s *store) int { return len(s.claims) }) == 1 })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.gateway.Close(ctx)
	}()
	if code := idle.ended(); code != websocket.StatusGoingAway {
		t.Errorf("the idle session ended with %d", code)
	}
	refused := func() bool {
		return r.ask(t, "GET / HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket", handshake).StatusCode == http.StatusServiceUnavailable
	}
	if !refused() {
		t.Error("there are new sessions")
	}
	close(r.hold)
	frames := []string{c.next(), c.next(), c.next()} // the two requests are served beside each other
	for _, want := range []string{delivery("a", stock[0]), delivery("a", stock[1]), `["EOSE","a"]`} {
		if !slices.Contains(frames, want) {
			t.Errorf("got %v, without %s", frames, want)
		}
	}
	if code := c.ended(); code != websocket.StatusGoingAway {
		t.Errorf("ended with %d", code)
	}
	<-ended
}

// The platform's own end of a request has no close frame: the session ends before it.
func TestASessionEndsBeforeItsRequestDoes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), 20*time.Second)
		defer cancel()
		r.gateway.ServeHTTP(w, request.WithContext(ctx))
	})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	r.url = address(t, server.URL).String()
	if code := r.dial(t).ended(); code != websocket.StatusGoingAway {
		t.Errorf("ended with %d", code)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.hold = make(chan struct{})
	defer close(r.hold)
	c := r.dial(t)
	c.login(newKey())
	c.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(newKey())))
	eventually(t, "a claim", func() bool { return look(r.store, func(s *store) int { return len(s.claims) }) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.gateway.Close(ctx)
	if code := c.ended(); code != websocket.StatusGoingAway {
		t.Errorf("ended with %d", code)
	}
}

func TestAPanicEndsOneSession(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	other := r.dial(t)
	for name, frame := range map[string]string{
		"publishing": publish(signed(key, 443, "x")), "beside the frames": req("a", `{"kinds":[443],"authors":[%q]}`, pub(newKey())),
	} {
		c := r.dial(t)
		c.login(key)
		look(r.store, func(s *store) any { s.panics = true; return nil })
		c.send(frame)
		if c.ended() == websocket.StatusNormalClosure {
			t.Errorf("%s: the session ended as if nothing had happened", name)
		}
		look(r.store, func(s *store) any { s.panics = false; return nil })
	}
	other.login(key)
	if log := r.log.String(); !strings.Contains(log, "panic") || strings.Contains(log, "secret") {
		t.Errorf("the log says %s", log)
	}
}

func TestWhatIsNoMessageEndsTheSession(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	large, binary := r.dial(t), r.dial(t)
	_ = large.conn.Write(t.Context(), websocket.MessageText, make([]byte, 300<<10)) // is cut off
	large.ended()
	if err := binary.conn.Write(t.Context(), websocket.MessageBinary, []byte(`["CLOSE","x"]`)); err != nil {
		t.Fatal(err)
	}
	if code := binary.ended(); code != websocket.StatusUnsupportedData {
		t.Errorf("a binary message: %d", code)
	}
}

// A client that stops reading stops its own upstream and nobody else's, and deliveries to it do not wait.
func TestAClientThatStopsReading(t *testing.T) {
	t.Parallel()
	r, c, u := between(t, nil)
	alice, bob := newKey(), newKey()
	c.login(alice)
	c.send(`["REQ","a",{"kinds":[1]}]`, `["REQ","k",{"kinds":[443],"limit":0}]`)
	c.expect(`["EOSE","k"]`)
	frame := `["EVENT","a",{"kind":1,"content":"` + strings.Repeat("x", 32<<10) + `"}]`
	stuck := 0
	for ; ; stuck++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := u.conn.Write(ctx, websocket.MessageText, []byte(frame))
		cancel()
		if err != nil {
			break // the session's upstream waits
		}
		if stuck > 10_000 {
			t.Fatal("upstream is read although the client does not read")
		}
	}
	t.Logf("%d frames of 32 KiB went into buffers", stuck)
	e := signed(bob, 443, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wait := r.gateway.Deliver(gateway.DirectEvent{ID: "1", Recipient: pub(alice), Event: e, Expires: time.Now().Add(time.Minute)})
	if got := string(wait(ctx)); got != "no_session" {
		t.Errorf("a delivery to it: %s", got)
	}
	other := r.dial(t)
	other.login(newKey())
	stock := r.stocked(bob, 443)
	other.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(bob)))
	other.expect(delivery("a", stock[0]), `["EOSE","a"]`)
}

// TestIdleSessions says what sessions cost that do nothing. It includes both ends of their sockets.
func TestIdleSessions(t *testing.T) {
	const sessions = 1000
	u := newScripted()
	u.conns = make(chan *upstreamConn, sessions)
	r := startBefore(t, u, func(c *gateway.Config) { c.ProxyHops = 1 })
	before := memory()
	var conns []net.Conn
	for i := range sessions {
		conns = append(conns, r.idle(t, fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
	}
	perSession := (memory() - before) / sessions
	t.Logf("%d sessions: %d KiB each, upstream's end of their connections included", sessions, perSession>>10)
	if perSession > 256<<10 {
		t.Errorf("an idle session takes %d KiB", perSession>>10)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	for range sessions {
		close((<-u.conns).done)
	}
}

// idle opens a session by hand, so that the client's end costs nothing, and reads its challenge.
func (r *relay) idle(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.http, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	head := []string{"GET / HTTP/1.1", "Host: localhost", "X-Forwarded-For: " + address, "Connection: Upgrade", "Upgrade: websocket", handshake}
	if _, err := io.WriteString(conn, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, 512)
	for !strings.Contains(string(got), `["AUTH"`) {
		n, err := conn.Read(got[len(got):cap(got)])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
	}
	return conn
}

// memory is what the heap and the stacks hold.
func memory() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

func TestAClientThatComesAndGoes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for range 50 {
		c := r.dial(t)
		c.send(`["REQ","a",{"kinds":[1]}]`, `["CLOSE","a"]`)
		_ = c.conn.CloseNow()
	}
	c := r.dial(t)
	c.send(`["REQ","a",{"kinds":[1]}]`)
	c.expect(`["EOSE","a"]`)
}

// Fifty clients ask for the same owner's at once: each gets another, before EOSE.
func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	r, bob := start(t, nil), newKey()
	r.stocked(bob, slices.Repeat([]int{443}, 50)...)
	got := make(chan string, 50)
	for range 50 {
		c := r.dial(t)
		c.login(newKey())
		go func() {
			c.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(bob)))
			got <- c.next() + c.next()
		}()
	}
	var all []string
	for range 50 {
		all = append(all, <-got)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 50 || !strings.HasSuffix(all[0], `["EOSE","a"]`) {
		t.Errorf("got %d different packages", len(slices.Compact(all)))
	}
}
