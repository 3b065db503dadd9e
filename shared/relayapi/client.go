package relayapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// Timeout bounds one push from token to last byte of the answer: twice what a relay may take, so that a slow network
// does not turn an answer into an unclear end. A lease on a delivery must be longer.
const Timeout = 10 * time.Second

// maxResponseBytes is far above one result for each delivery that fits into [MaxRequestBytes].
const maxResponseBytes = 4 << 20

// Client pushes deliveries to one relay. It keeps connections and tokens between pushes and is safe for concurrent use.
type Client struct {
	endpoint string
	tokens   *tokens // nil: no token
	timeout  time.Duration
	http     *http.Client
}

// New returns a client for the delivery endpoint at rawURL. Each push carries a Google ID token for audience; an empty
// audience means no token. Only a loopback host may be addressed without a token or without TLS. New does no I/O.
func New(rawURL, audience string) (*Client, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("relay endpoint is not an absolute http or https URL")
	case loopback(u.Hostname()):
	case u.Scheme != "https":
		return nil, errors.New("relay endpoint must use https")
	case audience == "":
		return nil, errors.New("relay endpoint needs an ID-token audience")
	}
	c := &Client{endpoint: rawURL, timeout: Timeout, http: httpClient()}
	if audience != "" {
		c.tokens = &tokens{audience: audience}
	}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// httpClient follows no redirect: a relay that moved must be configured, not guessed, and the token is for its origin
// only. It speaks HTTP/1.1, because whether a failed request may have been written (see [Client.Deliver]) rests on that
// transport's rules for retries.
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

// Deliver pushes r once and says what is known afterwards. It never retries, and sends nothing later than [Timeout] after
// it was called, or after ctx ended.
func (c *Client) Deliver(ctx context.Context, r DeliveryRequest) Answer {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := c.request(ctx, r)
	if err != nil {
		return Answer{Class: NotSent, Err: err}
	}
	var begun atomic.Bool
	response, err := c.http.Do(request.WithContext(traceBegin(ctx, &begun)))
	if err != nil {
		return Answer{Class: afterError(begun.Load()), Err: fmt.Errorf("push to relay: %w", err)}
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusUnauthorized && c.tokens != nil {
		c.tokens.forget()
	}
	return read(response, r.Deliveries)
}

func (c *Client) request(ctx context.Context, r DeliveryRequest) (*http.Request, error) {
	if r.Deliveries == nil {
		r.Deliveries = []Delivery{}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode push: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make push: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if r.TraceParent != "" {
		request.Header.Set("Traceparent", r.TraceParent)
	}
	if c.tokens == nil {
		return request, nil
	}
	token, err := c.tokens.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("get ID token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return request, nil
}

// traceBegin sets begun as soon as the request has a connection, which is before its first byte can be written. The
// transport asks for a second connection only if it wrote nothing to the first (a POST without Idempotency-Key is not
// replayed otherwise), so asking means a fresh start.
func traceBegin(ctx context.Context, begun *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { begun.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { begun.Store(true) },
	})
}

func afterError(begun bool) Class {
	if begun {
		return Unclear
	}
	return NotSent
}

func read(response *http.Response, asked []Delivery) Answer {
	answer := Answer{Code: response.StatusCode}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes+1)) // read to the end, so the connection is kept
	if response.StatusCode != http.StatusOK {
		answer.Class = classify(response.StatusCode)
		answer.Err = fmt.Errorf("relay answered %d", response.StatusCode)
		return answer
	}
	var decoded DeliveryResponse
	switch {
	case err != nil:
		answer.Err = fmt.Errorf("read the relay's answer: %w", err)
	case len(body) > maxResponseBytes:
		answer.Err = errors.New("the relay's answer is too long")
	case json.Unmarshal(body, &decoded) != nil || decoded.Results == nil:
		answer.Err = errors.New("the relay's answer is not a list of results")
	default:
		answer.Class, answer.Results = Answered, index(decoded.Results, asked)
	}
	return answer
}

// index keeps the answers that can be relied on: to a delivery that was asked for, with a status of the contract, and
// given once.
func index(results []Result, asked []Delivery) map[string]Result {
	count := make(map[string]int, len(results))
	for _, r := range results {
		count[r.ID]++
	}
	wanted := make(map[string]bool, len(asked))
	for _, d := range asked {
		wanted[d.ID] = true
	}
	reliable := make(map[string]Result, len(asked))
	for _, r := range results {
		if wanted[r.ID] && count[r.ID] == 1 && r.Status.Known() {
			reliable[r.ID] = r
		}
	}
	return reliable
}
