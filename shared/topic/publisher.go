package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

var (
	_ claiming.Publisher  = (*Publisher)(nil)
	_ expiring.Deliveries = (*Publisher)(nil)
	_ expiring.Notices    = (*Publisher)(nil)
)

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
