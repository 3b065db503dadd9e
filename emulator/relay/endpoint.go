package relay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	// answerWithin is what the relay takes for a push at most, of the 5 s that it promises. What is not written by then is
	// dropped or unknown.
	answerWithin = 4 * time.Second
	// readTimeout bounds the receipt of a request.
	readTimeout = 3 * time.Second
	// maxPushes is how many pushes are worked on at a time; each may hold a body of relayapi.MaxRequestBytes.
	maxPushes = 64
)

// serveDeliveries serves the delivery endpoint. Whatever it refuses it has not begun.
func (r *Relay) serveDeliveries(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), answerWithin)
	defer cancel()
	if status, err := r.guard.Check(request.WithContext(ctx)); err != nil {
		r.log.Warn("push refused", "status", status, "error", err)
		http.Error(w, http.StatusText(status), status)
		return
	}
	select {
	case r.pushes <- struct{}{}:
		defer func() { <-r.pushes }()
	default:
		http.Error(w, "too many pushes at a time", http.StatusTooManyRequests)
		return
	}
	push, status, err := readPush(w, request)
	if err != nil {
		r.log.Warn("push refused", "status", status, "error", err)
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(r.deliver(ctx, push)); err != nil {
		r.log.Warn("push not answered", "request", push.RequestEventID, "error", err)
	}
}

func readPush(w http.ResponseWriter, request *http.Request) (push relayapi.DeliveryRequest, status int, err error) {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(readTimeout)) // cannot fail on net/http's server
	defer func() { _ = connection.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, relayapi.MaxRequestBytes))
	switch tooLarge := new(http.MaxBytesError); {
	case errors.As(err, &tooLarge):
		return push, http.StatusRequestEntityTooLarge, errors.New("the body is too large")
	case err != nil:
		return push, http.StatusRequestTimeout, errors.New("the body did not arrive")
	case json.Unmarshal(body, &push) != nil || !wellFormed(push):
		return push, http.StatusBadRequest, errors.New("the body is not a DeliveryRequest")
	}
	return push, http.StatusOK, nil
}

func wellFormed(push relayapi.DeliveryRequest) bool {
	hasNoID := func(d relayapi.Delivery) bool { return d.ID == "" }
	return isEventID(push.RequestEventID) && keypackage.IsPubkey(push.RequesterPubkey) &&
		push.Deliveries != nil && !slices.ContainsFunc(push.Deliveries, hasNoID)
}

// deliver begins every delivery before it waits for any, so that a slow session costs its time once. The outcome comes
// behind them: the packages are what the requester waits for.
func (r *Relay) deliver(ctx context.Context, push relayapi.DeliveryRequest) relayapi.DeliveryResponse {
	results := make([]relayapi.Result, len(push.Deliveries))
	pending := make([]func(context.Context) relayapi.Status, len(push.Deliveries))
	for i, d := range push.Deliveries {
		p, refusal := r.parcel(push, d)
		results[i] = relayapi.Result{ID: d.ID, Status: refusal.status, Detail: refusal.detail}
		if refusal == accepted {
			pending[i] = r.sessions.push(push.RequesterPubkey, p)
		}
	}
	r.hearOutcome(push)
	for i, wait := range pending {
		if wait != nil {
			results[i].Status = wait(ctx)
		}
	}
	r.log.Info("push", "request", push.RequestEventID, "requester", push.RequesterPubkey, "results", count(results))
	return relayapi.DeliveryResponse{Results: results}
}

func count(results []relayapi.Result) map[relayapi.Status]int {
	counts := map[relayapi.Status]int{}
	for _, result := range results {
		counts[result.Status]++
	}
	return counts
}

// hearOutcome passes an outcome on to the requester, if the request was accepted here: then its signature is good.
func (r *Relay) hearOutcome(push relayapi.DeliveryRequest) {
	request := r.library.get(push.RequestEventID)
	if len(push.Outcome.Rows) == 0 || request == nil || request.PubKey != push.RequesterPubkey {
		return
	}
	if err := r.notices.hear(push.RequestEventID, push.RequesterPubkey, push.Outcome.Rows); err != nil {
		r.log.Warn("outcome not told", "request", push.RequestEventID, "error", err)
	}
}
