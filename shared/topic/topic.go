// Package topic is the Pub/Sub side of the pipeline: the messages of the delivery topic, their publisher, and the
// decoding of what Pub/Sub pushes. No other package imports the Pub/Sub client.
package topic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Message says "deliver what is pending": for one request (published after a claim), or for one requester (published by the scheduled
// function, and by the relay when a session opens a matching subscription). Exactly one of the two is set. Messages may be repeated,
// reordered and late: they are hints, and the store decides what is pending.
type Message struct {
	Request   keypackage.Announcement // ids and owners are 64 lower-case hex digits each; packages are ids of documents
	Requester string                  // 64 lower-case hex digits

	// TraceParent is the W3C trace context (https://www.w3.org/TR/trace-context/) of the publisher; it travels as an attribute.
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

// Reasons of the faults that [Decode] reports.
const (
	BodyUnreadable   = "body_unreadable"    // retryable: the connection broke
	BodyTooLarge     = "body_too_large"     // permanent, like all that follow
	BadEnvelope      = "bad_envelope"       // neither a push envelope nor a CloudEvent
	UnknownEventType = "unknown_event_type" // a CloudEvent, but not a published message
	NoData           = "no_data"            // an envelope without message data
	BadMessage       = "bad_message"        // message data that is not a [Message]
)

// maxBody bounds a request body in bytes. Our messages are about 500 bytes with their envelope and the platform's attributes.
const maxBody = 64 << 10

// messagePublished is the type of the CloudEvents that Eventarc makes of Pub/Sub messages.
const messagePublished = "google.cloud.pubsub.topic.v1.messagePublished"

// envelope is the body of a push, and also the data of a messagePublished CloudEvent.
type envelope struct {
	Message struct {
		Data       []byte            `json:"data"`
		Attributes map[string]string `json:"attributes"`
	} `json:"message"`
}

// Decode reads the message from a request in any of the forms in which Pub/Sub delivers one: the body of a push
// subscription (https://cloud.google.com/pubsub/docs/push#receive_push), or a messagePublished CloudEvent in binary or
// structured mode, as Eventarc sends it. Method, path and authentication are not looked at, nor is the trace context.
//
// A request that cannot be a message, now or later, is a permanent fault with one of this package's reasons, without content.
func Decode(r *http.Request) (Message, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return Message{}, fault.Retryable(BodyUnreadable, err)
	}
	if len(body) > maxBody {
		return Message{}, fault.Permanent(BodyTooLarge, fmt.Errorf("more than %d bytes", maxBody))
	}
	wrapped, err := unwrapCloudEvent(r.Header, body)
	if err != nil {
		return Message{}, err
	}
	var e envelope
	if err := json.Unmarshal(wrapped, &e); err != nil {
		return Message{}, fault.Permanent(BadEnvelope, err)
	}
	if len(e.Message.Data) == 0 {
		return Message{}, fault.Permanent(NoData, nil)
	}
	m, err := parse(e.Message.Data)
	if err != nil {
		return Message{}, fault.Permanent(BadMessage, err)
	}
	m.TraceParent = e.Message.Attributes[traceAttribute]
	return m, nil
}

// unwrapCloudEvent returns the data of a CloudEvent, or the body of a request that does not claim to be one: a plain push.
func unwrapCloudEvent(header http.Header, body []byte) ([]byte, error) {
	message := cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body)))
	if message.ReadEncoding() == binding.EncodingUnknown {
		return body, nil
	}
	event, err := binding.ToEvent(context.Background(), message)
	if err != nil {
		return nil, fault.Permanent(BadEnvelope, err)
	}
	if event.Type() != messagePublished {
		return nil, fault.Permanent(UnknownEventType, errors.New("want "+messagePublished))
	}
	return event.Data(), nil
}

// PublishFailed is the reason of the fault that [Publisher.Publish] reports.
const PublishFailed = "publish_failed"

const (
	// batchDelay is how long the client waits for more messages before it sends what it has. A requester waits for most of
	// ours, so it is far below the library's 10 ms; the scheduled function hands over hundreds of messages in that time.
	batchDelay = 100 * time.Microsecond
	// publishTimeout bounds the client's own attempts for one message. Then the event's retry, or the next tick, does better.
	publishTimeout = 10 * time.Second
)

// Publisher publishes to one topic. It is built once per process and safe for concurrent use.
type Publisher struct {
	client *pubsub.Client
	topic  *pubsub.Publisher
}

// NewPublisher connects to a topic by id, without checking that it exists. ctx bounds the set-up only. Close it in the end.
func NewPublisher(ctx context.Context, project, topicID string) (*Publisher, error) {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return nil, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	topic := client.Publisher(topicID)
	topic.PublishSettings.DelayThreshold = batchDelay
	topic.PublishSettings.Timeout = publishTimeout
	return &Publisher{client, topic}, nil
}

// PublishRequest implements claiming.Publisher. The message carries the trace of the invocation that publishes it.
func (p *Publisher) PublishRequest(ctx context.Context, a keypackage.Announcement) error {
	return p.Publish(ctx, Message{Request: a, TraceParent: logging.TraceParent(ctx)})
}

// PublishRequesters implements expiring.Deliveries. Each message begins a trace of its own.
func (p *Publisher) PublishRequesters(ctx context.Context, requesters []string) error {
	messages := make([]Message, len(requesters))
	for i, requester := range requesters {
		messages[i] = Message{Requester: requester}
	}
	return p.Publish(ctx, messages...)
}

// Notice is the data of a message on the notice topic, as JSON: an owner's stock of a ciphersuite has reached a level, which the relay
// tells the owner. It may be published more than once, each time with the same ID, which is also an attribute.
type Notice struct {
	ID          string `json:"id"` // owner, ciphersuite, level and epoch
	OwnerPubkey string `json:"owner_pubkey"`
	Ciphersuite string `json:"ciphersuite"` // 0x0001
	Level       string `json:"level"`       // low, last, reserve or empty
	Count       int    `json:"count"`       // valid KeyPackages left when the level was reached
	Epoch       int    `json:"epoch"`       // raised with every refill
	At          int64  `json:"at"`          // when the level was reached, Unix seconds
}

// PublishNotices implements expiring.Notices, for a notice topic. Errors are as for Publish.
func (p *Publisher) PublishNotices(ctx context.Context, notices []keypackage.Notice) error {
	messages := make([]*pubsub.Message, len(notices))
	for i, n := range notices {
		data, err := json.Marshal(Notice{
			ID: n.ID(), OwnerPubkey: n.Owner, Ciphersuite: n.Suite, Level: string(n.Level), Count: n.Count, Epoch: n.Epoch, At: n.At.Unix(),
		})
		if err != nil {
			return err
		}
		messages[i] = &pubsub.Message{Data: data, Attributes: map[string]string{"id": n.ID()}}
	}
	return p.publish(ctx, messages)
}

// Publish sends the messages and returns nil only when the server has acknowledged all. After a retryable fault all may be published
// again, because messages are hints. One that breaks the rules of [Message] is a permanent fault, and nothing is published.
func (p *Publisher) Publish(ctx context.Context, messages ...Message) error {
	encoded := make([]*pubsub.Message, len(messages))
	for i, m := range messages {
		data, err := m.data()
		if err != nil {
			return fault.Permanent(BadMessage, err)
		}
		encoded[i] = &pubsub.Message{Data: data}
		if m.TraceParent != "" {
			encoded[i].Attributes = map[string]string{traceAttribute: m.TraceParent}
		}
	}
	return p.publish(ctx, encoded)
}

// publish returns nil only when the server has acknowledged all messages.
func (p *Publisher) publish(ctx context.Context, messages []*pubsub.Message) error {
	results := make([]*pubsub.PublishResult, len(messages))
	for i, message := range messages {
		results[i] = p.topic.Publish(ctx, message)
	}
	var faults []error
	for _, result := range results {
		if _, err := result.Get(ctx); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fault.Retryable(PublishFailed, fmt.Errorf("publish %d of %d messages: %w", len(faults), len(messages), faults[0]))
}

// Close waits for messages in flight and disconnects. The publisher must not be used afterwards.
func (p *Publisher) Close() error {
	p.topic.Stop()
	return p.client.Close()
}
