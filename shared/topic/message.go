// Package topic is the Pub/Sub side of the pipeline: the messages of the delivery topic, their publisher, and the
// decoding of what Pub/Sub pushes. No other package imports the Pub/Sub client.
package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Message says "deliver what is pending": for one request (published after a claim), or for one requester (published by the
// scheduled function, and by the relay when a session opens a matching subscription). Exactly one of Request and Requester is
// set. Messages may be repeated, reordered and late: they are hints, and the store decides what is pending.
type Message struct {
	Request   keypackage.Announcement // ids and owners are 64 lower-case hex digits each; packages are ids of documents
	Requester string                  // 64 lower-case hex digits

	// TraceParent is the W3C trace context (https://www.w3.org/TR/trace-context/) under which the message was published, by
	// which a request can be followed through the functions. It travels as an attribute and may be empty.
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
	p := payload{m.Request.RequestID, m.Requester, m.Request.Granted}
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
	request := keypackage.Announcement{RequestID: p.RequestEventID, Granted: p.Granted}
	return Message{Request: request, Requester: p.RequesterPubkey}, nil
}

func (p payload) check() error {
	if (p.RequestEventID == "") == (p.RequesterPubkey == "") {
		return errors.New("not exactly one of request_event_id and requester_pubkey")
	}
	if !keypackage.IsEventID(p.RequestEventID + p.RequesterPubkey) {
		return errors.New("id is not 64 lower-case hex digits")
	}
	for owner, packages := range p.Granted {
		if !keypackage.IsPubkey(owner) {
			return errors.New("an owner is not 64 lower-case hex digits")
		}
		if slices.ContainsFunc(packages, func(s string) bool { return !keypackage.IsName(s) }) {
			return errors.New("a KeyPackage's id is not that of a document")
		}
	}
	return nil
}

// Notice is the data of a message on the notice topic, as JSON: an owner's stock of a ciphersuite has reached a level, which the
// relay tells the owner. It may be published more than once, each time with the same ID, which is also an attribute.
type Notice struct {
	ID          string `json:"id"` // owner, ciphersuite, level and epoch
	OwnerPubkey string `json:"owner_pubkey"`
	Ciphersuite string `json:"ciphersuite"` // 0x0001
	Level       string `json:"level"`       // low, last, reserve or empty
	Count       int    `json:"count"`       // valid KeyPackages left when the level was reached
	Epoch       int    `json:"epoch"`       // raised with every refill
	At          int64  `json:"at"`          // when the level was reached, Unix seconds
}
