package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
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
func (s *Suite) servePushes(ctx context.Context) error {
	listener, err := process.Listen(0)
	if err != nil {
		return fmt.Errorf("listen for pushes: %w", err)
	}
	s.serve(listener, &push{caller: s.caller(Deliver), log: s.log, attempts: map[string]int{}})
	s.pushURL = "http://" + listener.Addr().String() + "/" + s.name("topics", s.config.DeliveryTopic)
	s.onStop(s.deletePushSubscription)
	return s.createTopics(ctx)
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
			Name: s.pushSubscription(), Topic: topic, AckDeadlineSeconds: int32(ackDeadline.Seconds()),
			PushConfig:       &pubsubpb.PushConfig{PushEndpoint: s.pushURL},
			RetryPolicy:      &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(minimumBackoff), MaximumBackoff: durationpb.New(maximumBackoff)},
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
	client, err := pubsub.NewClient(ctx, s.config.Project, emulatorAt(s.addresses.PubSub)...)
	if err != nil {
		return nil, fmt.Errorf("client of the Pub/Sub emulator: %w", err)
	}
	return client, nil
}

// push stands between the push subscription and the function. The emulator sends no ID token and no delivery attempt, and
// differs from production in what it takes for an acknowledgement.
type push struct {
	caller caller
	log    *slog.Logger

	mu       sync.Mutex
	attempts map[string]int // by message id, until acknowledged
}

// ServeHTTP takes a message from the emulator and answers whether the function acknowledged it. It adds the delivery attempt, as
// production does for a subscription with a dead-letter policy.
func (p *push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var envelope map[string]json.RawMessage
	var message struct {
		ID string `json:"messageId"`
	}
	err := json.NewDecoder(r.Body).Decode(&envelope)
	if err == nil {
		err = json.Unmarshal(envelope["message"], &message)
	}
	if err != nil {
		p.log.Error("unreadable push", "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.attempts[message.ID]++
	envelope["deliveryAttempt"] = fmt.Append(nil, p.attempts[message.ID])
	p.mu.Unlock()
	body, _ := json.Marshal(envelope) // of what has just been read
	status, _, err := p.caller.post(r.Context(), http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil || !acknowledges(status) {
		p.log.Warn("message not acknowledged", "message_id", message.ID, "status", status, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.attempts, message.ID)
	w.WriteHeader(http.StatusNoContent)
}

// acknowledges reports whether production takes a status for an acknowledgement
// (https://cloud.google.com/pubsub/docs/push#receive_push). The emulator also takes 203, and refuses 202.
func acknowledges(status int) bool {
	switch status {
	case http.StatusProcessing, http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return true
	}
	return false
}
