// Package upstream reaches the relay behind the gateway: a websocket for each client (this file), and its NIP-11 document
// (document.go). It knows nothing of what the frames say.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// MaxFrame is the largest frame that is taken from upstream: twice what clients may send, since others may let theirs send
	// more. What is larger ends the connection.
	MaxFrame = 1 << 20
	// dialTimeout bounds a connection's opening. Frames for upstream wait for it.
	dialTimeout = 5 * time.Second
	// patience is how long one write may take before upstream is given up.
	patience = 30 * time.Second
)

// Relay is the relay behind the gateway. It is safe for concurrent use.
type Relay struct {
	url *url.URL

	mu      sync.Mutex // held while the document is fetched: one at a time, and the others want its result
	last    Document
	fetchAt time.Time
}

// New returns the relay at a ws or wss URL. It does no I/O.
func New(address *url.URL) *Relay { return &Relay{url: address} }

// Client is what upstream is told of the client, in the headers by which proxies do so.
type Client struct {
	Address string // X-Forwarded-For
	Host    string // X-Forwarded-Host: the name under which the client reached the gateway, which NIP-42 compares
	Scheme  string // X-Forwarded-Proto
}

// Connect opens a connection for a client.
func (r *Relay) Connect(ctx context.Context, c Client) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	header := http.Header{}
	header.Set("X-Forwarded-For", c.Address)
	header.Set("X-Forwarded-Host", c.Host)
	header.Set("X-Forwarded-Proto", c.Scheme)
	conn, response, err := websocket.Dial(ctx, r.url.String(), &websocket.DialOptions{HTTPHeader: header, HTTPClient: direct})
	if err != nil {
		return nil, fmt.Errorf("connect to upstream: %w", reason(err, response))
	}
	conn.SetReadLimit(MaxFrame)
	return &Conn{conn}, nil
}

// direct does not follow redirects: what the operator has named is what is spoken to. Its buffers are small, because a websocket
// keeps them and reads and writes by its own.
var direct = &http.Client{
	Transport: &http.Transport{
		MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ReadBufferSize: 512, WriteBufferSize: 512,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// reason leaves out the URL, which may hold a secret.
func reason(err error, response *http.Response) error {
	if response != nil {
		return fmt.Errorf("answered %d", response.StatusCode)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// Conn is one connection to upstream. One goroutine may read while others write.
type Conn struct{ conn *websocket.Conn }

// Read returns the next text frame. Binary ones are no messages of Nostr and are skipped.
func (c *Conn) Read(ctx context.Context) ([]byte, error) {
	for {
		kind, frame, err := c.conn.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("read from upstream: %w", err)
		}
		if kind == websocket.MessageText {
			return frame, nil
		}
	}
}

// Write sends a frame. An upstream that does not read is waited for, but not for longer than half a minute.
func (c *Conn) Write(ctx context.Context, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return fmt.Errorf("write to upstream: %w", err)
	}
	return nil
}

// Close says goodbye and does not wait for an answer.
func (c *Conn) Close() {
	go func() { _ = c.conn.Close(websocket.StatusNormalClosure, "") }() // waits up to 5 s for the other side
}
