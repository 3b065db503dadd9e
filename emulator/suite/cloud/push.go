package cloud

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
)

// Push stands between a push subscription of the Pub/Sub emulator and a function. The emulator sends no ID token and no
// delivery attempt, and differs from production in what it takes for an acknowledgement.
type Push struct {
	caller Caller
	log    *slog.Logger

	mu       sync.Mutex
	attempts map[string]int // by message id, until acknowledged
}

// NewPush returns a Push that brings messages to caller's function.
func NewPush(caller Caller, log *slog.Logger) *Push {
	return &Push{caller: caller, log: log, attempts: map[string]int{}}
}

// ServeHTTP takes a message from the emulator and answers whether the function acknowledged it.
func (p *Push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, envelope, err := p.envelope(body)
	if err != nil {
		p.log.Error("unreadable push", "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := http.Header{"Content-Type": {"application/json"}}
	status, _, err := p.caller.post(r.Context(), header, envelope)
	if err != nil || !acknowledges(status) {
		p.log.Warn("message not acknowledged", "message_id", id, "status", status, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.attempts, id)
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

// envelope adds the delivery attempt, as production does for a subscription with a dead-letter policy.
func (p *Push) envelope(body []byte) (id string, with []byte, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return "", nil, fmt.Errorf("push envelope: %w", err)
	}
	var message struct {
		ID string `json:"messageId"`
	}
	if err := json.Unmarshal(fields["message"], &message); err != nil {
		return "", nil, fmt.Errorf("message in the push envelope: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts[message.ID]++
	fields["deliveryAttempt"] = fmt.Append(nil, p.attempts[message.ID])
	with, err = json.Marshal(fields)
	return message.ID, with, err
}
