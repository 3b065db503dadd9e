package simulation

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Topic carries the messages. It is safe for concurrent use.
type Topic interface {
	Publish(ctx context.Context, messages ...topic.Message) error
	// Outstanding is the number of messages that were published and not yet acknowledged.
	Outstanding() int
	// Pending returns those of them that can be handed to a function now, in any order: at least one, if any is outstanding.
	Pending(ctx context.Context) ([]Envelope, error)
	// Settle acknowledges a message, or gives it back.
	Settle(ctx context.Context, e Envelope, acknowledge bool) error
}

// Envelope is a message as it arrived.
type Envelope struct {
	topic.Message
	AckID string
}

// Memory is a Topic in memory, for speed.
type Memory struct {
	mu        sync.Mutex
	messages  []Envelope
	published int
}

// Publish implements Topic.
func (m *Memory) Publish(_ context.Context, messages ...topic.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range messages {
		m.published++
		m.messages = append(m.messages, Envelope{message, strconv.Itoa(m.published)})
	}
	return nil
}

// Outstanding implements Topic.
func (m *Memory) Outstanding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.messages)
}

// Pending implements Topic.
func (m *Memory) Pending(context.Context) ([]Envelope, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages), nil
}

// Settle implements Topic.
func (m *Memory) Settle(_ context.Context, e Envelope, acknowledge bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if acknowledge {
		m.messages = slices.DeleteFunc(m.messages, func(other Envelope) bool { return other.AckID == e.AckID })
	}
	return nil
}

// publisher is the topic as the use cases see it.
type publisher struct{ topic Topic }

// PublishRequest implements claiming.Publisher.
func (p publisher) PublishRequest(ctx context.Context, a keypackage.Announcement) error {
	return invocationOf(ctx).Call("Publish", func() error {
		return p.topic.Publish(ctx, topic.Message{Request: a})
	})
}

// PublishRequesters implements expiring.Deliveries.
func (p publisher) PublishRequesters(ctx context.Context, requesters []string) error {
	messages := make([]topic.Message, len(requesters))
	for i, requester := range requesters {
		messages[i] = topic.Message{Requester: requester}
	}
	return invocationOf(ctx).Call("Publish", func() error { return p.topic.Publish(ctx, messages...) })
}

// PublishNotices implements expiring.Notices. Nobody listens to the notices here.
func (p publisher) PublishNotices(ctx context.Context, _ []keypackage.Notice) error {
	return invocationOf(ctx).Call("Publish notices", func() error { return nil })
}
