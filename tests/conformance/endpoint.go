package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// endpointClient follows no redirect, as the function follows none.
func endpointClient(slack time.Duration) *http.Client {
	return &http.Client{
		Timeout:       patience + slack,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call sends a request to the endpoint and returns what was answered. An empty token means no Authorization header.
func (p *probe) call(ctx context.Context, method, token string, body []byte) (code int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, p.Endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := p.http.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("the endpoint: %w", err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, nil, fmt.Errorf("read the endpoint's answer: %w", err)
	}
	return response.StatusCode, answer, nil
}

// push pushes as the function does, and returns the status of each delivery by id.
func (p *probe) push(ctx context.Context, push relayapi.DeliveryRequest) (map[string]relayapi.Status, error) {
	code, answer, err := p.call(ctx, http.MethodPost, p.Token, encode(push))
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("a push was answered %d instead of 200", code)
	}
	var response relayapi.DeliveryResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return nil, errors.New("a push was answered with something else than a DeliveryResponse")
	}
	statuses := map[string]relayapi.Status{}
	for _, result := range response.Results {
		if _, twice := statuses[result.ID]; twice || !result.Status.Known() {
			return nil, fmt.Errorf("a result has the status %q, or is not the only one for its delivery", result.Status)
		}
		statuses[result.ID] = result.Status
	}
	for _, d := range push.Deliveries {
		if _, ok := statuses[d.ID]; !ok {
			return nil, errors.New("a delivery has no result")
		}
	}
	return statuses, nil
}

// expect pushes deliveries for the requester, one push for all, and fails unless each is answered with the status.
func (p *probe) expect(ctx context.Context, want relayapi.Status, requester string, deliveries ...relayapi.Delivery) error {
	got, err := p.push(ctx, pushOf(requester, deliveries...))
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if got[d.ID] != want {
			return fmt.Errorf("the answer was %q instead of %q", got[d.ID], want)
		}
	}
	return nil
}

// pushOf is a push that belongs to a request which nobody has made.
func pushOf(requester string, deliveries ...relayapi.Delivery) relayapi.DeliveryRequest {
	if deliveries == nil {
		deliveries = []relayapi.Delivery{}
	}
	return relayapi.DeliveryRequest{
		RequestEventID: randomID(), RequesterPubkey: requester, ExpiresAt: time.Now().Add(life).Unix(), Deliveries: deliveries,
	}
}

func encode(push relayapi.DeliveryRequest) []byte { return must(json.Marshal(push)) }
