package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	// maxConcurrent is how many requests reach a function process at once; Cloud Run's default for one instance.
	maxConcurrent = 80
	// requestTimeout bounds one call of a function, as its deployment's timeout does.
	requestTimeout = 60 * time.Second
	// maxAnswer bounds what is read of a function's answer, in bytes.
	maxAnswer = 1 << 20
)

// newAuthenticator returns a function's public address. As Cloud Run does for a function that is not public, it lets nobody
// through without a valid ID token for the audience, which is the function's URL (401), of the account that may invoke it (403).
func newAuthenticator(issuer *identity.Issuer, audience, invoker string, function http.Handler) (http.Handler, error) {
	guard, err := relayapi.NewGuard(relayapi.Caller{Issuer: identity.At(issuer.Host()), Audience: audience, Email: invoker})
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
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{
			MaxConnsPerHost: maxConcurrent, MaxIdleConnsPerHost: maxConcurrent, IdleConnTimeout: time.Minute,
		},
		// A process that is down is an ordinary event here: the caller sees 502 and retries.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// caller calls one function with an ID token of its own.
type caller struct {
	issuer  *identity.Issuer
	url     string // the function's public address, and the token's audience
	account string // the caller's e-mail address
}

var client = &http.Client{
	Timeout:   requestTimeout,
	Transport: &http.Transport{MaxIdleConnsPerHost: maxConcurrent, IdleConnTimeout: time.Minute},
	// None of Google's callers follows a redirect.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends body with header and returns the status code and the answer.
func (c caller) post(ctx context.Context, header http.Header, body []byte) (int, []byte, error) {
	token, err := c.issuer.Mint(c.url, c.account)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("call the function: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read the function's answer: %w", err)
	}
	return res.StatusCode, answer, nil
}

// tick calls a function once, as Cloud Scheduler does, and returns its answer. Any status but 2xx is an error.
func (c caller) tick(ctx context.Context) ([]byte, error) {
	status, answer, err := c.post(ctx, http.Header{"Content-Type": {"application/json"}}, []byte("{}"))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("the function answered %d", status)
	}
	if err != nil {
		return answer, fmt.Errorf("tick: %w", err)
	}
	return answer, nil
}
