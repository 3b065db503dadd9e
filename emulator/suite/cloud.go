package suite

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	// maxConcurrent is how many requests reach a function process at once; Cloud Run's default for one instance.
	maxConcurrent = 80
	// requestTimeout bounds one call of a function, as its deployment's timeout does.
	requestTimeout = 60 * time.Second
	// Eventarc's retries start at 10 s and double to 600 s; here the same, 100 times faster.
	firstRetry, lastRetry = 100 * time.Millisecond, 6 * time.Second
)

// caller calls one function with an ID token of its own.
type caller struct {
	issuer  *identity.Issuer
	url     string // the function's public address, and the token's audience
	account string // the caller's e-mail address
}

// authenticated is what stands before the function. As Cloud Run does for a function that is not public, it lets nobody through
// without a valid ID token for the function's URL (401), of the account that may invoke it, which is the caller's (403).
func (c caller) authenticated(function http.Handler) (http.Handler, error) {
	guard, err := relayapi.NewGuard(relayapi.Caller{Issuer: identity.At(c.issuer.Host()), Audience: c.url, Email: c.account})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, err := guard.Check(r); err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		function.ServeHTTP(w, r)
	}), nil
}

// newProxy returns a handler that passes requests on, under its name, to the process that listens at backend, host:port.
func newProxy(backend string) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: backend}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxConnsPerHost: maxConcurrent, MaxIdleConnsPerHost: maxConcurrent, IdleConnTimeout: time.Minute},
		// A process that is down is an ordinary event here: the caller sees 502 and retries.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

var client = &http.Client{
	Timeout:   requestTimeout,
	Transport: &http.Transport{MaxIdleConnsPerHost: maxConcurrent, IdleConnTimeout: time.Minute},
	// None of Google's callers follows a redirect.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends body with header and returns the status code.
func (c caller) post(ctx context.Context, header http.Header, body []byte) (status int, err error) {
	token, err := c.issuer.Mint(c.url, c.account)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("call the function: %w", err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil { // whole, so that the connection can be used again
		return 0, fmt.Errorf("read the function's answer: %w", err)
	}
	return res.StatusCode, nil
}

var jsonBody = http.Header{"Content-Type": {"application/json"}}

// tick calls a function once, as Cloud Scheduler does. Any status but 2xx is an error.
func (c caller) tick(ctx context.Context) error {
	status, err := c.post(ctx, jsonBody, []byte("{}"))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("the function answered %d", status)
	}
	if err != nil {
		return fmt.Errorf("tick: %w", err)
	}
	return nil
}

// eventarc brings document events to a function at least once: it calls until the answer is 2xx, or its context ends. The Firestore
// emulator by itself calls once, one event at a time for all its projects, and in a form that the CloudEvents SDK refuses.
type eventarc struct {
	caller caller
	log    *slog.Logger
	ctx    context.Context // the events outlive the emulator's requests
	calls  *sync.WaitGroup // waited for when ctx has ended
}

// ServeHTTP takes an event from the emulator. It answers at once, since the emulator waits.
func (e *eventarc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r.Body))
	if err != nil {
		e.log.Error("unreadable event", "document", r.Header.Get("Ce-Document"), "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := cloudEventHeader(r.Header)
	e.calls.Go(func() { e.deliver(header, body) })
	w.WriteHeader(http.StatusNoContent)
}

// cloudEventHeader turns the emulator's headers into those of an event in binary mode (CloudEvents HTTP binding, 3.1).
func cloudEventHeader(from http.Header) http.Header {
	header := http.Header{"Content-Type": {"application/protobuf"}}
	for name, values := range from {
		if strings.HasPrefix(name, "Ce-") && name != "Ce-Datacontenttype" { // which is Content-Type in binary mode, and else an error
			header[name] = values
		}
	}
	header.Set("Ce-Source", strings.Replace(header.Get("Ce-Source"), "projects/projects/", "projects/", 1))
	return header
}

func (e *eventarc) deliver(header http.Header, body []byte) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		status, err := e.caller.post(e.ctx, header, body)
		if e.ctx.Err() != nil || err == nil && status/100 == 2 {
			return
		}
		e.log.Warn("event not acknowledged, will be retried",
			"document", header.Get("Ce-Document"), "status", status, "error", err, "wait", wait.String())
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// push stands between the push subscription and the function. The emulator sends no ID token and no delivery attempt, and
// differs from production in what it takes for an acknowledgement.
type push struct {
	caller caller
	log    *slog.Logger

	mu       sync.Mutex
	attempts map[string]int // by message id, until acknowledged
}

// ServeHTTP takes a message from the emulator, adds the delivery attempt, and answers whether the function acknowledged it.
func (p *push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var envelope map[string]json.RawMessage
	var message struct {
		ID string `json:"messageId"`
	}
	err := json.NewDecoder(r.Body).Decode(&envelope)
	if err == nil {
		err = json.Unmarshal(envelope["message"], &message)
	}
	if err != nil {
		p.log.Error("unreadable push", "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.attempts[message.ID]++
	envelope["deliveryAttempt"] = fmt.Append(nil, p.attempts[message.ID])
	p.mu.Unlock()
	body, _ := json.Marshal(envelope) // of what has just been read
	status, err := p.caller.post(r.Context(), jsonBody, body)
	if err != nil || !acknowledges(status) {
		p.log.Warn("message not acknowledged", "message_id", message.ID, "status", status, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.attempts, message.ID)
	w.WriteHeader(http.StatusNoContent)
}

// acknowledges reports whether production takes a status for an acknowledgement
// (https://cloud.google.com/pubsub/docs/push#receive_push). The emulator also takes 203, and refuses 202.
func acknowledges(status int) bool {
	switch status {
	case http.StatusProcessing, http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return true
	}
	return false
}
