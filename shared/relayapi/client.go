package relayapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials/idtoken"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Client pushes deliveries to one relay. It keeps connections and tokens between pushes and is safe for concurrent use.
type Client struct {
	endpoint string
	tokens   *tokens // nil: no token
	http     *http.Client
}

// New returns a client for the delivery endpoint at rawURL, a valid setting. Each push carries a Google ID token for audience; without
// one only a loopback host may be addressed. New does no I/O, and its errors do not name the address.
func New(rawURL, audience string) (*Client, error) {
	if err := config.CheckRelayURL(rawURL); err != nil {
		return nil, errors.New("relay endpoint " + err.Error())
	}
	c := &Client{endpoint: rawURL, http: httpClient()}
	switch {
	case audience != "":
		c.tokens = &tokens{audience: audience}
	case !config.Loopback(rawURL):
		return nil, errors.New("relay endpoint needs an ID-token audience")
	}
	return c, nil
}

// httpClient follows no redirect: a relay that moved must be configured, and the token is for its origin only. It speaks HTTP/1.1,
// because whether a failed request may have been written (see [Client.Push]) rests on that transport's rules for retries. It has no
// time limit of its own: the context of a push ends before its lease does.
func httpClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns // there is one host
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// tokens hands out ID tokens for one audience. The credentials are found on first use, which may ask the metadata server; they cache it.
type tokens struct {
	audience string

	mu    sync.Mutex
	found *auth.Credentials
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	if t.found == nil {
		found, err := idtoken.NewCredentials(&idtoken.Options{Audience: t.audience})
		if err != nil {
			t.mu.Unlock()
			return "", err
		}
		t.found = found
	}
	t.mu.Unlock()
	token, err := t.found.Token(ctx)
	if err != nil {
		return "", err
	}
	return token.Value, nil
}

// maxResponseBytes is far above one result for each delivery that fits into [MaxRequestBytes].
const maxResponseBytes = 4 << 20

// Push implements delivering.Relay. It never retries. A push that is larger than every relay must accept is too large before it is sent.
func (c *Client) Push(ctx context.Context, push delivering.Push) delivering.Results {
	body, err := encode(push)
	if err != nil {
		return failed(keypackage.ResultNotSent, fmt.Errorf("encode push: %w", err))
	}
	if len(body) > MaxRequestBytes {
		return failed(keypackage.ResultTooLarge, fmt.Errorf("push has %d bytes", len(body)))
	}
	request, err := c.request(ctx, body)
	if err != nil {
		return failed(keypackage.ResultNotSent, err)
	}
	var begun atomic.Bool
	response, err := c.http.Do(request.WithContext(traceBegin(ctx, &begun)))
	if err != nil {
		whole := keypackage.ResultNotSent
		if begun.Load() {
			whole = keypackage.ResultUnclear
		}
		return failed(whole, fmt.Errorf("push to relay: %w", withoutURL(err)))
	}
	defer response.Body.Close()
	return read(response, push.Deliveries)
}

func failed(whole keypackage.PushResult, err error) delivering.Results {
	return delivering.Results{Whole: whole, Err: err}
}

// encode writes events as they are: the usual escapes for HTML would make one byte six.
func encode(push delivering.Push) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(message(push))
	return body.Bytes(), err
}

func (c *Client) request(ctx context.Context, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make push: %w", withoutURL(err))
	}
	request.Header.Set("Content-Type", "application/json")
	if trace := logging.TraceParent(ctx); trace != "" {
		request.Header.Set("Traceparent", trace)
	}
	if c.tokens == nil {
		return request, nil
	}
	token, err := c.tokens.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("get ID token: %w", withoutURL(err))
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return request, nil
}

// withoutURL leaves out the address where something went wrong: operators put secrets into paths, too, and many people read a log.
func withoutURL(err error) error {
	if at, ok := errors.AsType[*url.Error](err); ok {
		return at.Err
	}
	return err
}

// traceBegin sets begun as soon as the request has a connection, before its first byte. The transport asks for a second one only if it
// wrote nothing to the first (a POST without Idempotency-Key is not replayed otherwise), so asking means a fresh start.
func traceBegin(ctx context.Context, begun *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { begun.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { begun.Store(true) },
	})
}

// ofStatus says what an HTTP status means for the whole push, except 200, whose body decides. openapi.yaml has the same table.
func ofStatus(code int) keypackage.PushResult {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooEarly, http.StatusTooManyRequests:
		return keypackage.ResultRefused
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMisdirectedRequest:
		return keypackage.ResultMisplaced
	case http.StatusRequestEntityTooLarge:
		return keypackage.ResultTooLarge
	}
	if code == http.StatusRequestTimeout || code >= 500 {
		return keypackage.ResultUnclear
	}
	return keypackage.ResultUnexpected
}

func read(response *http.Response, asked []*keypackage.Delivery) delivering.Results {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes+1)) // read to the end, so the connection is kept
	if response.StatusCode != http.StatusOK {
		return failed(ofStatus(response.StatusCode), fmt.Errorf("relay answered %d", response.StatusCode))
	}
	var decoded DeliveryResponse
	switch {
	case err != nil:
		err = fmt.Errorf("read the relay's answer: %w", err)
	case len(body) > maxResponseBytes:
		err = errors.New("the relay's answer is too long")
	case json.Unmarshal(body, &decoded) != nil || decoded.Results == nil:
		err = errors.New("the relay's answer is not a list of results")
	default:
		return delivering.Results{Each: reliable(decoded.Results, asked)}
	}
	return failed(keypackage.ResultUnclear, err)
}

// reliable keeps the answers that can be relied on: to a delivery that was asked for, with a status of the contract, and given once.
func reliable(results []Result, asked []*keypackage.Delivery) map[string]keypackage.PushResult {
	given := make(map[string][]Status, len(results))
	for _, r := range results {
		given[r.ID] = append(given[r.ID], r.Status)
	}
	each := make(map[string]keypackage.PushResult, len(asked))
	for _, d := range asked {
		if answers := given[d.ID]; len(answers) == 1 && slices.Contains(Statuses, answers[0]) {
			each[d.ID] = answers[0]
		}
	}
	return each
}
