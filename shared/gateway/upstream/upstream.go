// Package upstream reaches the relay behind the gateway: a websocket for each client, and its NIP-11 document. It knows nothing of
// what the frames say.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxFrame is the largest frame that is taken from upstream: twice what clients may send, since others may let theirs send
	// more. What is larger ends the connection.
	MaxFrame = 1 << 20
	// dialTimeout bounds a connection's opening. Frames for upstream wait for it.
	dialTimeout = 5 * time.Second
	// patience is how long one write may take before upstream is given up.
	patience = 30 * time.Second
	// documentAge is how long the NIP-11 document is believed before it is fetched again.
	documentAge = 5 * time.Minute
	// retryAfter is how long a failed fetch is not repeated.
	retryAfter = 10 * time.Second
	// documentTimeout bounds one fetch; readers wait for it.
	documentTimeout = 3 * time.Second
	// maxDocument bounds the document; those of real relays have a few KB.
	maxDocument = 256 << 10
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

// Document is a NIP-11 document: names to values, which are passed on as they were written.
type Document map[string]jsontext.Value

// Document returns the relay's NIP-11 document, at most a few minutes old if the relay can be reached, otherwise the last one,
// or nil. The caller must not change it. The error says why a fetch that was due has failed.
func (r *Relay) Document(ctx context.Context) (Document, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.fetchAt) {
		return r.last, nil
	}
	fetched, err := r.fetch(ctx)
	if err != nil {
		r.fetchAt = time.Now().Add(retryAfter)
		return r.last, fmt.Errorf("NIP-11 document of upstream: %w", err)
	}
	r.last, r.fetchAt = fetched, time.Now().Add(documentAge)
	return r.last, nil
}

// fetch does not end with the caller's context: others wait for the same document.
func (r *Relay) fetch(ctx context.Context) (document Document, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), documentTimeout)
	defer cancel()
	address := *r.url
	address.Scheme = strings.Replace(address.Scheme, "ws", "http", 1)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, reason(err, nil)
	}
	request.Header.Set("Accept", "application/nostr+json")
	response, err := direct.Do(request)
	if err != nil {
		return nil, reason(err, nil)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, reason(nil, response)
	}
	if err := json.UnmarshalRead(io.LimitReader(response.Body, maxDocument), &document); err != nil || document == nil {
		return nil, errors.New("it is not a JSON object")
	}
	return document, nil
}

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
	header := http.Header{"X-Forwarded-For": {c.Address}, "X-Forwarded-Host": {c.Host}, "X-Forwarded-Proto": {c.Scheme}}
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
	Transport:     &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ReadBufferSize: 512, WriteBufferSize: 512},
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
			return nil, err
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
	return c.conn.Write(ctx, websocket.MessageText, frame)
}

// Close says goodbye and does not wait for an answer.
func (c *Conn) Close() {
	go func() { _ = c.conn.Close(websocket.StatusNormalClosure, "") }() // waits up to 5 s for the other side
}
