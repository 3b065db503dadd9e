// Package topic is the Pub/Sub side of the pipeline: the messages of the delivery topic, their publisher, and the
// decoding of what Pub/Sub pushes. No other package imports the Pub/Sub client.
package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Message says "deliver what is pending": for one request (published after a claim, and again by the scheduled
// function), or for one requester (published by the relay when a session opens a matching subscription). Exactly one of
// RequestEventID and RequesterPubkey is set. Messages may be repeated, reordered and late: they are hints, and what is
// pending is decided by the store.
type Message struct {
	RequestEventID  string // 64 lower-case hex digits
	RequesterPubkey string // 64 lower-case hex digits

	// Granted may go with RequestEventID: by owner whose answer there is (64 lower-case hex digits), the ids of the packages
	// that the request was granted, so that the receiver need not search for them. See keypackage.Announcement.
	Granted map[string][]string

	// TraceParent is the W3C trace context (https://www.w3.org/TR/trace-context/) under which the message was
	// published, so that one request can be followed through the functions. It travels as a message attribute and may
	// be empty.
	TraceParent string
}

// traceAttribute is the attribute that carries [Message.TraceParent].
const traceAttribute = "traceparent"

// payload is the message's data on the wire. Relays write it too.
type payload struct {
	RequestEventID  string              `json:"request_event_id,omitempty"`
	RequesterPubkey string              `json:"requester_pubkey,omitempty"`
	Granted         map[string][]string `json:"granted,omitempty"`
}

func (m Message) data() ([]byte, error) {
	p := payload{m.RequestEventID, m.RequesterPubkey, m.Granted}
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

func parse(data []byte) (Message, error) {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return Message{}, fmt.Errorf("message data: %w", err)
	}
	if err := p.check(); err != nil {
		return Message{}, err
	}
	return Message{RequestEventID: p.RequestEventID, RequesterPubkey: p.RequesterPubkey, Granted: p.Granted}, nil
}

func (p payload) check() error {
	if (p.RequestEventID == "") == (p.RequesterPubkey == "") {
		return errors.New("not exactly one of request_event_id and requester_pubkey")
	}
	if !isHex32(p.RequestEventID + p.RequesterPubkey) {
		return errors.New("id is not 64 lower-case hex digits")
	}
	for owner, packages := range p.Granted {
		if !isHex32(owner) {
			return errors.New("an owner is not 64 lower-case hex digits")
		}
		if slices.ContainsFunc(packages, func(s string) bool { return s == "" || strings.Contains(s, "/") }) {
			return errors.New("a KeyPackage's id is not that of a document")
		}
	}
	return nil
}

func isHex32(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}
