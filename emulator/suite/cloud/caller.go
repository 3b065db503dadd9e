package cloud

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Minter issues ID tokens. [identity.Issuer] is one.
type Minter interface {
	Mint(audience, email string) (string, error)
}

// requestTimeout bounds one call of a function, as its deployment's timeout does.
const requestTimeout = 60 * time.Second

// maxAnswer bounds what is read of a function's answer.
const maxAnswer = 1 << 20

// Caller calls one function with an ID token of its own.
type Caller struct {
	Minter  Minter
	URL     string // the function's public address, and the token's audience
	Account string // the caller's e-mail address
}

var client = &http.Client{
	Timeout:   requestTimeout,
	Transport: &http.Transport{MaxIdleConnsPerHost: maxConcurrent, IdleConnTimeout: time.Minute},
	// None of Google's callers follows a redirect.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends body with header and returns the status code and the answer.
func (c Caller) post(ctx context.Context, header http.Header, body []byte) (int, []byte, error) {
	token, err := c.Minter.Mint(c.URL, c.Account)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/", bytes.NewReader(body))
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

// Tick calls a function once, as Cloud Scheduler does, and returns its answer. Any status but 2xx is an error.
func Tick(ctx context.Context, caller Caller) ([]byte, error) {
	status, answer, err := caller.post(ctx, http.Header{"Content-Type": {"application/json"}}, []byte("{}"))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("the function answered %d", status)
	}
	if err != nil {
		return answer, fmt.Errorf("tick: %w", err)
	}
	return answer, nil
}
