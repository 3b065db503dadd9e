package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/gateway"
)

// The push subscription's settings. The emulator never retries faster than after a second, whatever the policy says.
const (
	ackDeadline         = 60 * time.Second
	minimumBackoff      = 200 * time.Millisecond
	maximumBackoff      = 2 * time.Second
	maxDeliveryAttempts = 20 // then the message goes to the dead letters; a tick publishes another one
)

// createTopics creates the delivery topic with its push subscription to DeliverKeyPackages, the dead letters, and the
// notice topic with the subscription from which the relay learns what to tell owners.
func (s *Suite) createTopics(ctx context.Context) error {
	push, err := listen(0)
	if err != nil {
		return fmt.Errorf("listen for pushes: %w", err)
	}
	s.serve(push, gateway.NewPush(s.caller(Deliver, pushAccount), s.log))

	admin, err := newPubsubAdmin(ctx, s.emulators.PubSub.Addr())
	if err != nil {
		return err
	}
	defer admin.close()
	prefix, id := "projects/"+s.config.Project, s.config.DeliveryTopic
	topic, subscription := prefix+"/topics/"+id, prefix+"/subscriptions/"+id+"-push"
	deadTopic, deadSubscription := prefix+"/topics/"+id+"-dead", prefix+"/subscriptions/"+id+"-dead"
	notices := prefix + "/topics/" + s.config.NoticeTopic
	relayNotices := prefix + "/subscriptions/" + s.config.NoticeTopic + "-relay"
	for _, name := range []string{topic, deadTopic, notices} {
		if err := admin.createTopic(ctx, name); err != nil {
			return err
		}
	}
	for name, topic := range map[string]string{deadSubscription: deadTopic, relayNotices: notices} {
		if err := admin.createSubscription(ctx, &pubsubpb.Subscription{Name: name, Topic: topic}); err != nil {
			return err
		}
	}
	s.onStop(func() error { return s.deleteSubscription(subscription) })
	return admin.createSubscription(ctx, &pubsubpb.Subscription{
		Name:               subscription,
		Topic:              topic,
		AckDeadlineSeconds: int32(ackDeadline.Seconds()),
		PushConfig:         &pubsubpb.PushConfig{PushEndpoint: "http://" + push.Addr().String() + "/" + topic},
		RetryPolicy: &pubsubpb.RetryPolicy{
			MinimumBackoff: durationpb.New(minimumBackoff), MaximumBackoff: durationpb.New(maximumBackoff),
		},
		DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: deadTopic, MaxDeliveryAttempts: maxDeliveryAttempts},
	})
}

// deleteSubscription keeps a shared emulator from pushing to a suite that is gone. One's own ends anyway.
func (s *Suite) deleteSubscription(name string) error {
	if s.opts.Emulators == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	admin, err := newPubsubAdmin(ctx, s.emulators.PubSub.Addr())
	if err != nil {
		return err
	}
	defer admin.close()
	return admin.subscriptions.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: name})
}

// pubsubAdmin talks to the emulator at a given address. The higher-level client would take the address from the
// environment, which belongs to the whole process.
type pubsubAdmin struct {
	topics        *pubsub.TopicAdminClient
	subscriptions *pubsub.SubscriptionAdminClient
}

func newPubsubAdmin(ctx context.Context, addr string) (*pubsubAdmin, error) {
	options := []option.ClientOption{
		option.WithEndpoint(addr),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	topics, errTopics := pubsub.NewTopicAdminClient(ctx, options...)
	subscriptions, errSubscriptions := pubsub.NewSubscriptionAdminClient(ctx, options...)
	if err := errors.Join(errTopics, errSubscriptions); err != nil {
		return nil, fmt.Errorf("client of the Pub/Sub emulator: %w", err)
	}
	return &pubsubAdmin{topics, subscriptions}, nil
}

func (a *pubsubAdmin) close() {
	_ = a.topics.Close()
	_ = a.subscriptions.Close()
}

func (a *pubsubAdmin) createTopic(ctx context.Context, name string) error {
	if _, err := a.topics.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

func (a *pubsubAdmin) createSubscription(ctx context.Context, subscription *pubsubpb.Subscription) error {
	if _, err := a.subscriptions.CreateSubscription(ctx, subscription); err != nil {
		return fmt.Errorf("create %s: %w", subscription.Name, err)
	}
	return nil
}
