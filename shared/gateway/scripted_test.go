package gateway_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

// scripted is an upstream that does what a test wants: conn is each connection, in the order in which they were opened.
type scripted struct {
	conns    chan *upstreamConn
	document string
}

type upstreamConn struct {
	t      testing.TB
	conn   *websocket.Conn
	header http.Header
	done   chan struct{}
}

func newScripted() *scripted { return &scripted{conns: make(chan *upstreamConn, 100)} }

func (u *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(w, u.document)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	conn.SetReadLimit(16 << 20)
	c := &upstreamConn{conn: conn, header: r.Header, done: make(chan struct{})}
	u.conns <- c
	<-c.done // or the server would end the context
}

// accept returns the upstream end of the next session.
func (u *scripted) accept(t testing.TB) *upstreamConn {
	t.Helper()
	select {
	case c := <-u.conns:
		c.t = t
		t.Cleanup(func() {
			_ = c.conn.CloseNow()
			close(c.done)
		})
		return c
	case <-t.Context().Done():
		t.Fatal("nobody connects")
		return nil
	}
}

func (c *upstreamConn) send(frames ...string) {
	c.t.Helper()
	for _, frame := range frames {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := c.conn.Write(ctx, websocket.MessageText, []byte(frame))
		cancel()
		if err != nil {
			c.t.Errorf("upstream sends: %v", err)
			return
		}
	}
}

func (c *upstreamConn) next() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Errorf("upstream receives: %v", err)
	}
	return string(frame)
}

func (c *upstreamConn) expect(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			c.t.Fatalf("upstream got %s\nwant         %s", got, want)
		}
	}
}

// between starts a gateway before a scripted upstream and opens one session.
func between(t testing.TB, edit func(*gateway.Config)) (*relay, *client, *upstreamConn) {
	t.Helper()
	u := newScripted()
	r := startBefore(t, u, edit)
	c := r.dial(t)
	return r, c, u.accept(t)
}
