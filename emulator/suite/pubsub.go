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
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/cloud"
)

// The push subscription's settings. The emulator never retries faster than after a second, whatever the policy says.
const (
	ackDeadline         = 60 * time.Second
	minimumBackoff      = 200 * time.Millisecond
	maximumBackoff      = 2 * time.Second
	maxDeliveryAttempts = 20 // then the message goes to the dead letters; a tick publishes another one
)

// servePushes opens the way from the delivery topic's push subscription to DeliverKeyPackages.
func (s *Suite) servePushes(context.Context) error {
	push, err := process.Listen(0)
	if err != nil {
		return fmt.Errorf("listen for pushes: %w", err)
	}
	s.serve(push, cloud.NewPush(s.caller(Deliver, pushAccount), s.log))
	s.pushURL = "http://" + push.Addr().String() + "/" + s.name("topics", s.config.DeliveryTopic)
	s.onStop(s.deletePushSubscription)
	return nil
}

// name is the full name of a topic or subscription.
func (s *Suite) name(kind, id string) string {
	return "projects/" + s.config.Project + "/" + kind + "/" + id
}

// createTopics creates the delivery topic with its push subscription, the dead letters, and the notice topic, which relays other
// than the gateway subscribe to.
func (s *Suite) createTopics(ctx context.Context) error {
	client, err := s.pubsubClient(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	id := s.config.DeliveryTopic
	topic, dead := s.name("topics", id), s.name("topics", id+"-dead")
	for _, name := range []string{topic, dead, s.name("topics", s.config.NoticeTopic)} {
		if _, err := client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name}); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	for _, subscription := range []*pubsubpb.Subscription{
		{Name: s.name("subscriptions", id+"-dead"), Topic: dead},
		{
			Name:               s.pushSubscription(),
			Topic:              topic,
			AckDeadlineSeconds: int32(ackDeadline.Seconds()),
			PushConfig:         &pubsubpb.PushConfig{PushEndpoint: s.pushURL},
			RetryPolicy: &pubsubpb.RetryPolicy{
				MinimumBackoff: durationpb.New(minimumBackoff), MaximumBackoff: durationpb.New(maximumBackoff),
			},
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: dead, MaxDeliveryAttempts: maxDeliveryAttempts},
		},
	} {
		if _, err := client.SubscriptionAdminClient.CreateSubscription(ctx, subscription); err != nil {
			return fmt.Errorf("create %s: %w", subscription.Name, err)
		}
	}
	return nil
}

func (s *Suite) pushSubscription() string {
	return s.name("subscriptions", s.config.DeliveryTopic+"-push")
}

// restartPubSub loses all messages, and topics and subscriptions with them, which are created again.
func (s *Suite) restartPubSub(ctx context.Context) error {
	s.restarting.Lock()
	defer s.restarting.Unlock()
	if s.opts.Emulators != nil {
		return errors.New("restart: the Pub/Sub emulator is shared with others")
	}
	if err := errors.Join(s.emulators.PubSub.Kill(), s.emulators.PubSub.Start(ctx)); err != nil {
		return err
	}
	return s.createTopics(ctx)
}

// deletePushSubscription keeps a shared emulator from pushing to a suite that is gone. One's own ends anyway.
func (s *Suite) deletePushSubscription() error {
	if s.opts.Emulators == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := s.pubsubClient(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.SubscriptionAdminClient.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: s.pushSubscription()})
}

// pubsubClient talks to the emulator, wherever the environment leads.
func (s *Suite) pubsubClient(ctx context.Context) (*pubsub.Client, error) {
	client, err := pubsub.NewClient(ctx, s.config.Project, emulatorAt(s.emulators.PubSub.Addr())...)
	if err != nil {
		return nil, fmt.Errorf("client of the Pub/Sub emulator: %w", err)
	}
	return client, nil
}
