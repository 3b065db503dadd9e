package suite

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// servePushes opens the way from the delivery topic's push subscription to DeliverKeyPackages.
func (s *Suite) servePushes(ctx context.Context) (err error) {
	listener, err := process.Listen(0)
	if err != nil {
		return fmt.Errorf("listen for pushes: %w", err)
	}
	s.serve(listener, &push{caller: s.caller(Deliver), log: s.log, attempts: map[string]int{}})
	s.pushURL = "http://" + listener.Addr().String() + "/" + s.name("topics", s.config.DeliveryTopic)
	// The emulator, wherever the environment leads.
	if s.pubsub, err = pubsub.NewClient(ctx, s.config.Project, emulatorAt(s.addresses.PubSub)...); err != nil {
		return fmt.Errorf("client of the Pub/Sub emulator: %w", err)
	}
	s.onStop(s.pubsub.Close)
	if s.opts.Emulators != nil { // which would go on pushing; one's own end anyway
		s.onStop(s.deletePushSubscription)
	}
	return s.createTopics(ctx)
}

// name is the full name of a topic or subscription.
func (s *Suite) name(kind, id string) string {
	return "projects/" + s.config.Project + "/" + kind + "/" + id
}

// createTopics creates the topics of deliveries, dead letters and notices, the push subscription, and that of the dead letters.
func (s *Suite) createTopics(ctx context.Context) error {
	id := s.config.DeliveryTopic
	// The emulator never retries faster than after a second, whatever the policy says.
	backoff := &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(200 * time.Millisecond), MaximumBackoff: durationpb.New(2 * time.Second)}
	topic, dead := s.name("topics", id), s.name("topics", id+"-dead")
	for _, name := range []string{topic, dead, s.name("topics", s.config.NoticeTopic)} {
		if _, err := s.pubsub.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	for _, subscription := range []*pubsubpb.Subscription{
		{Name: s.name("subscriptions", id+"-dead"), Topic: dead},
		{
			Name: s.name("subscriptions", id+"-push"), Topic: topic, AckDeadlineSeconds: 60,
			PushConfig:       &pubsubpb.PushConfig{PushEndpoint: s.pushURL},
			RetryPolicy:      backoff,
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: dead, MaxDeliveryAttempts: 20}, // a tick publishes another one
		},
	} {
		if _, err := s.pubsub.SubscriptionAdminClient.CreateSubscription(ctx, subscription); err != nil {
			return fmt.Errorf("create %s: %w", subscription.Name, err)
		}
	}
	return nil
}

func (s *Suite) deletePushSubscription() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request := &pubsubpb.DeleteSubscriptionRequest{Subscription: s.name("subscriptions", s.config.DeliveryTopic+"-push")}
	return s.pubsub.SubscriptionAdminClient.DeleteSubscription(ctx, request)
}
