package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	// life of a push that is not about expiry.
	life = 5 * time.Minute
	// patience with an answer. Lateness is a rule of its own; other rules should not fail with it.
	patience = 30 * time.Second
	// maxAnswer is far above an answer to any push of ours.
	maxAnswer = 1 << 20
)

// call sends a request to the endpoint and returns what was answered; it follows no redirect, as the function follows none. An
// empty token means no Authorization header.
func (p *probe) call(ctx context.Context, method, token string, body []byte) (code int, answer []byte) {
	request := must(http.NewRequestWithContext(ctx, method, p.Endpoint, bytes.NewReader(body)))
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{
		Timeout:       patience + p.Slack,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	p.must("the endpoint", err)
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	p.must("read the endpoint's answer", err)
	return response.StatusCode, answer
}

// answers fails unless a request is answered with one of the codes.
func (p *probe) answers(what, method, token string, body []byte, codes ...int) {
	if code, _ := p.call(p.ctx, method, token, body); !slices.Contains(codes, code) {
		p.fail("%s was answered %d", what, code)
	}
}

// push pushes as the function does, and returns the status of each delivery by id.
func (p *probe) push(ctx context.Context, push relayapi.DeliveryRequest) map[string]relayapi.Status {
	code, answer := p.call(ctx, http.MethodPost, p.Token, encode(push))
	if code != http.StatusOK {
		p.fail("a push was answered %d instead of 200", code)
	}
	var response relayapi.DeliveryResponse
	p.must("a push was answered with something else than a DeliveryResponse", json.Unmarshal(answer, &response))
	statuses := map[string]relayapi.Status{}
	for _, result := range response.Results {
		if _, twice := statuses[result.ID]; twice || !result.Status.Known() {
			p.fail("a result has the status %q, or is not the only one for its delivery", result.Status)
		}
		statuses[result.ID] = result.Status
	}
	for _, d := range push.Deliveries {
		if statuses[d.ID] == "" {
			p.fail("a delivery has no result")
		}
	}
	return statuses
}

// expect pushes deliveries for the requester, one push for all, and fails unless each is answered with the status.
func (p *probe) expect(want relayapi.Status, deliveries ...relayapi.Delivery) {
	for _, got := range p.push(p.ctx, p.pushOf(deliveries...)) {
		if got != want {
			p.fail("the answer was %q instead of %q", got, want)
		}
	}
}

// pushOf is a push to the requester that belongs to a request which nobody has made.
func (p *probe) pushOf(deliveries ...relayapi.Delivery) relayapi.DeliveryRequest {
	return relayapi.DeliveryRequest{
		RequestEventID: randomID(), RequesterPubkey: p.requester.Pubkey, ExpiresAt: time.Now().Add(life).Unix(),
		Deliveries: append([]relayapi.Delivery{}, deliveries...), // a list also if there are none
	}
}

func encode(push relayapi.DeliveryRequest) []byte { return must(json.Marshal(push)) }

func wrongTokens(p *probe) {
	tokens := map[string]string{
		"a push without a token":                       "",
		"a push with a token that is none":             "x.y.z",
		"a push with a token whose signature is wrong": p.Token[:max(0, strings.LastIndex(p.Token, "."))+1] + strings.Repeat("A", 342),
	}
	if p.OtherAudience != "" {
		tokens["a push with a token for another audience"] = p.OtherAudience
	}
	for what, token := range tokens {
		p.answers(what, http.MethodPost, token, encode(p.pushOf()), http.StatusUnauthorized)
	}
}

func otherCaller(p *probe) {
	if p.OtherCaller == "" {
		p.skip("a good token of another account is needed")
	}
	p.answers("a push by another account", http.MethodPost, p.OtherCaller, encode(p.pushOf()), http.StatusForbidden)
}

func otherMethods(p *probe) {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		p.answers(method, method, p.Token, nil, http.StatusMethodNotAllowed)
	}
}

func malformedBodies(p *probe) {
	good := string(encode(p.pushOf()))
	for what, body := range map[string]string{
		"no JSON":                             "x",
		"an empty body":                       "",
		"{}":                                  "{}",
		"a push whose deliveries are missing": strings.Replace(good, `"deliveries"`, `"others"`, 1),
		"a push whose requester is no key":    strings.Replace(good, p.requester.Pubkey, "alice", 1),
	} {
		p.answers(what, http.MethodPost, p.Token, []byte(body), http.StatusBadRequest)
	}
}

// largeBodies tries again after a 408: the body was under way for too long, which says nothing about its size.
func largeBodies(p *probe) {
	padded := func(size int) []byte {
		body := encode(p.pushOf())
		return append(body, bytes.Repeat([]byte(" "), size-len(body))...)
	}
	code := http.StatusRequestTimeout
	for try := 0; try < 3 && code == http.StatusRequestTimeout; try++ {
		code, _ = p.call(p.ctx, http.MethodPost, p.Token, padded(relayapi.MaxRequestBytes))
	}
	if code != http.StatusOK {
		p.fail("a push of 8 MiB was answered %d", code)
	}
	p.answers("a push of more than 8 MiB", http.MethodPost, p.Token, padded(relayapi.MaxRequestBytes+1),
		http.StatusOK, http.StatusRequestEntityTooLarge, http.StatusRequestTimeout)
}

func directAnswer(p *probe) {
	for _, n := range []int{0, 3} {
		p.push(p.ctx, p.pushOf(p.deliveries(n)...))
	}
}
