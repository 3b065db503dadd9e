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

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
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

// endpointClient follows no redirect, as the function follows none.
func endpointClient(slack time.Duration) *http.Client {
	return &http.Client{
		Timeout:       patience + slack,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call sends a request to the endpoint and returns what was answered. An empty token means no Authorization header.
func (p *probe) call(ctx context.Context, method, token string, body []byte) (code int, answer []byte) {
	request := must(http.NewRequestWithContext(ctx, method, p.Endpoint, bytes.NewReader(body)))
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := p.http.Do(request)
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
		if _, twice := statuses[result.ID]; twice || !slices.Contains(relayapi.Statuses, result.Status) {
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
func (p *probe) expect(want relayapi.Status, requester string, deliveries ...relayapi.Delivery) {
	for _, got := range p.push(p.ctx, pushOf(requester, deliveries...)) {
		if got != want {
			p.fail("the answer was %q instead of %q", got, want)
		}
	}
}

// pushTo pushes to a requester with a session that has subscribed with the filter. It fails unless each delivery is answered with
// the status, and all of them arrive if that is `delivered`, and none if not.
func (p *probe) pushTo(filter nostr.Filter, status relayapi.Status, deliveries ...relayapi.Delivery) {
	requester := actors.NewKey()
	s := p.listener(&requester, filter)
	p.expect(status, requester.Pubkey, deliveries...)
	var want []string
	if status == relayapi.Delivered {
		want = eventsOf(deliveries)
	}
	s.got("the requester", want...)
}

func eventsOf(deliveries []relayapi.Delivery) (events []string) {
	for _, d := range deliveries {
		events = append(events, d.Event)
	}
	return events
}

// pushOf is a push that belongs to a request which nobody has made.
func pushOf(requester string, deliveries ...relayapi.Delivery) relayapi.DeliveryRequest {
	return relayapi.DeliveryRequest{
		RequestEventID: randomID(), RequesterPubkey: requester, ExpiresAt: time.Now().Add(life).Unix(),
		Deliveries: append([]relayapi.Delivery{}, deliveries...), // a list also if there are none
	}
}

func encode(push relayapi.DeliveryRequest) []byte { return must(json.Marshal(push)) }

// emptyPush is a good push with nothing in it.
func emptyPush() []byte { return encode(pushOf(actors.NewKey().Pubkey)) }

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
		p.answers(what, http.MethodPost, token, emptyPush(), http.StatusUnauthorized)
	}
}

func otherCaller(p *probe) {
	if p.OtherCaller == "" {
		p.skip("a good token of another account is needed")
	}
	p.answers("a push by another account", http.MethodPost, p.OtherCaller, emptyPush(), http.StatusForbidden)
}

func otherMethods(p *probe) {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		p.answers(method, method, p.Token, nil, http.StatusMethodNotAllowed)
	}
}

func malformedBodies(p *probe) {
	for what, body := range map[string][]byte{
		"no JSON":                             []byte("x"),
		"an empty body":                       {},
		"{}":                                  []byte("{}"),
		"a push whose deliveries are missing": bytes.Replace(emptyPush(), []byte(`"deliveries"`), []byte(`"others"`), 1),
		"a push whose requester is no key":    encode(pushOf("alice")),
	} {
		p.answers(what, http.MethodPost, p.Token, body, http.StatusBadRequest)
	}
}

// largeBodies tries again after a 408: the body was under way for too long, which says nothing about its size.
func largeBodies(p *probe) {
	padded := func(size int) []byte {
		body := emptyPush()
		return append(body, bytes.Repeat([]byte(" "), size-len(body))...)
	}
	code := http.StatusRequestTimeout
	for range 3 {
		if code == http.StatusRequestTimeout {
			code, _ = p.call(p.ctx, http.MethodPost, p.Token, padded(relayapi.MaxRequestBytes))
		}
	}
	if code != http.StatusOK {
		p.fail("a push of 8 MiB was answered %d", code)
	}
	p.answers("a push of more than 8 MiB", http.MethodPost, p.Token, padded(relayapi.MaxRequestBytes+1),
		http.StatusOK, http.StatusRequestEntityTooLarge, http.StatusRequestTimeout)
}

func directAnswer(p *probe) {
	for _, n := range []int{0, 3} {
		p.push(p.ctx, pushOf(actors.NewKey().Pubkey, p.deliveries(actors.NewKey(), n)...))
	}
}
