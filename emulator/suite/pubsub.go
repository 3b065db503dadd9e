package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// The push subscription's settings. The emulator never retries faster than after a second, whatever the policy says.
const (
	ackDeadline         = 60 * time.Second
	minimumBackoff      = 200 * time.Millisecond
	maximumBackoff      = 2 * time.Second
	maxDeliveryAttempts = 20 // then the message goes to the dead letters; a tick publishes another one
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

func (s *Suite) pushSubscription() string {
	return s.name("subscriptions", s.config.DeliveryTopic+"-push")
}

// createTopics creates the delivery topic with its push subscription, the dead letters, and the notice topic, which relays other
// than the gateway subscribe to.
func (s *Suite) createTopics(ctx context.Context) error {
	id := s.config.DeliveryTopic
	topic, dead := s.name("topics", id), s.name("topics", id+"-dead")
	for _, name := range []string{topic, dead, s.name("topics", s.config.NoticeTopic)} {
		if _, err := s.pubsub.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	for _, subscription := range []*pubsubpb.Subscription{
		{Name: s.name("subscriptions", id+"-dead"), Topic: dead},
		{
			Name: s.pushSubscription(), Topic: topic, AckDeadlineSeconds: int32(ackDeadline.Seconds()),
			PushConfig:       &pubsubpb.PushConfig{PushEndpoint: s.pushURL},
			RetryPolicy:      &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(minimumBackoff), MaximumBackoff: durationpb.New(maximumBackoff)},
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: dead, MaxDeliveryAttempts: maxDeliveryAttempts},
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
	request := &pubsubpb.DeleteSubscriptionRequest{Subscription: s.pushSubscription()}
	return s.pubsub.SubscriptionAdminClient.DeleteSubscription(ctx, request)
}

// restartPubSub loses all messages, and topics and subscriptions with them, which are created again.
func (s *Suite) restartPubSub(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Emulators != nil {
		return errors.New("restart: the Pub/Sub emulator is shared with others")
	}
	s.emulators.PubSub.Kill()
	if err := s.emulators.PubSub.Start(ctx); err != nil {
		return err
	}
	return s.createTopics(ctx)
}
