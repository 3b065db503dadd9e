package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Broker makes topics of the Pub/Sub emulator. Safe for concurrent use.
type Broker struct {
	project       string
	topics        *pubsub.TopicAdminClient
	subscriptions *pubsub.SubscriptionAdminClient
	made          atomic.Int64
}

// NewBroker connects to a project of the Pub/Sub emulator; the connection ends with the test. The package's tests must run
// under emutest.Main.
func NewBroker(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{project: emutest.Project(t)}
	conn, err := grpc.NewClient(os.Getenv("PUBSUB_EMULATOR_HOST"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if b.topics, err = pubsub.NewTopicAdminClient(context.Background(), option.WithGRPCConn(conn)); err != nil {
		t.Fatal(err)
	}
	if b.subscriptions, err = pubsub.NewSubscriptionAdminClient(context.Background(), option.WithGRPCConn(conn)); err != nil {
		t.Fatal(err)
	}
	return b
}

// NewTopic makes a topic with a subscription. The caller must call Close.
func (b *Broker) NewTopic(ctx context.Context) (p *PubSub, err error) {
	p = &PubSub{broker: b}
	p.subscription, p.publisher, err = b.newTopic(ctx, nil)
	return p, err
}

// newTopic makes a topic, a subscription, and a publisher for the topic.
func (b *Broker) newTopic(
	ctx context.Context, push *pubsubpb.PushConfig,
) (subscription string, publisher *topic.Publisher, err error) {
	id := fmt.Sprintf("topic-%d", b.made.Add(1))
	name := fmt.Sprintf("projects/%s/topics/%s", b.project, id)
	if _, err := b.topics.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
		return "", nil, err
	}
	subscription = fmt.Sprintf("projects/%s/subscriptions/%s", b.project, id)
	_, err = b.subscriptions.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: subscription, Topic: name, PushConfig: push, AckDeadlineSeconds: 600, // longer than any play
	})
	if err != nil {
		return "", nil, err
	}
	publisher, err = topic.NewPublisher(ctx, b.project, id)
	return subscription, publisher, err
}

// PubSub is a Topic of the Pub/Sub emulator. Messages are published by the functions' own publisher and read by their own
// decoder; they are pulled, so that the test decides when each is handed to a function.
type PubSub struct {
	broker       *Broker
	subscription string
	publisher    *topic.Publisher

	mu          sync.Mutex
	outstanding int        // published and not acknowledged
	arrived     []Envelope // those of them that were pulled and not given back
}

// Close disconnects the publisher.
func (p *PubSub) Close() error { return p.publisher.Close() }

// Publish implements Topic.
func (p *PubSub) Publish(ctx context.Context, messages ...topic.Message) error {
	err := p.publisher.Publish(ctx, messages...)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.outstanding += len(messages)
	}
	return err
}

// Outstanding implements Topic.
func (p *PubSub) Outstanding() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outstanding
}

// Pending implements Topic. It waits until all messages are there.
func (p *PubSub) Pending(ctx context.Context) ([]Envelope, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.arrived) < p.outstanding {
		request := &pubsubpb.PullRequest{Subscription: p.subscription, MaxMessages: int32(p.outstanding)}
		response, err := p.broker.subscriptions.Pull(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, received := range response.GetReceivedMessages() {
			message, err := decode(received.GetMessage())
			if err != nil {
				return nil, err
			}
			p.arrived = append(p.arrived, Envelope{message, received.GetAckId()})
		}
	}
	return slices.Clone(p.arrived), nil
}

// decode reads a message as DeliverKeyPackages does, out of the envelope in which Pub/Sub would push it.
func decode(m *pubsubpb.PubsubMessage) (topic.Message, error) {
	body, err := json.Marshal(map[string]any{"message": map[string]any{"data": m.GetData(), "attributes": m.GetAttributes()}})
	if err != nil {
		return topic.Message{}, err
	}
	request, err := http.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return topic.Message{}, err
	}
	return topic.Decode(request)
}

// Settle implements Topic. What is given back comes again.
func (p *PubSub) Settle(ctx context.Context, e Envelope, acknowledge bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.arrived, func(other Envelope) bool { return other.AckID == e.AckID })
	if i < 0 {
		return nil // settled by another invocation
	}
	p.arrived = slices.Delete(p.arrived, i, i+1)
	ids := []string{e.AckID}
	if !acknowledge {
		return p.broker.subscriptions.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
			Subscription: p.subscription, AckIds: ids,
		})
	}
	p.outstanding--
	return p.broker.subscriptions.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: p.subscription, AckIds: ids})
}
