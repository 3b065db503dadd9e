package topic

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// DeadLetter is a message of the delivery topic that Pub/Sub has given up.
type DeadLetter struct {
	ID       string // of the message on the dead-letter topic
	Message  Message
	Err      error     // why the data is no Message; then Message is empty
	Since    time.Time // when it was given up
	Attempts int       // to deliver it; 0 if Pub/Sub does not say

	ack string
}

// deliveryCount is the attribute in which Pub/Sub says how often it has tried
// (https://cloud.google.com/pubsub/docs/handling-failures#dead_letter_topic).
const deliveryCount = "CloudPubSubDeadLetterSourceDeliveryCount"

const (
	// lease is for how long a pulled letter is ours; the longest that Pub/Sub grants.
	lease = 10 * time.Minute
	// lull is how long a pull waits for another letter before there seems to be none.
	lull = 3 * time.Second
	// pullBatch is how many letters one pull asks for.
	pullBatch = 100
)

// DeadLetters reads a pull subscription of a dead-letter topic. It is not safe for concurrent use.
type DeadLetters struct {
	client *pubsub.Client
	name   string
}

// NewDeadLetters connects to the subscription with the given id in project. ctx bounds the set-up only. Call Close when done.
func NewDeadLetters(ctx context.Context, project, subscriptionID string) (*DeadLetters, error) {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return nil, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	return &DeadLetters{client, fmt.Sprintf("projects/%s/subscriptions/%s", project, subscriptionID)}, nil
}

// Close disconnects.
func (d *DeadLetters) Close() error { return d.client.Close() }

// Pull takes up to limit letters, for ten minutes: Pub/Sub knows no other way to look at them. Every letter has to be given
// back, or removed. It returns fewer when for three seconds there was none to be had.
func (d *DeadLetters) Pull(ctx context.Context, limit int) ([]DeadLetter, error) {
	var letters []DeadLetter
	for len(letters) < limit {
		batch, err := d.pull(ctx, min(pullBatch, limit-len(letters)))
		if err != nil || len(batch) == 0 {
			return letters, err
		}
		letters = append(letters, batch...)
		if err := d.modify(ctx, batch, lease); err != nil {
			return letters, err
		}
	}
	return letters, nil
}

func (d *DeadLetters) pull(ctx context.Context, limit int) ([]DeadLetter, error) {
	waiting, cancel := context.WithTimeout(ctx, lull)
	defer cancel()
	answer, err := d.client.SubscriptionAdminClient.Pull(waiting, &pubsubpb.PullRequest{Subscription: d.name, MaxMessages: int32(limit)})
	switch {
	case err != nil && waiting.Err() != nil && ctx.Err() == nil:
		return nil, nil // nothing came
	case err != nil:
		return nil, fmt.Errorf("pull dead letters: %w", err)
	}
	letters := make([]DeadLetter, len(answer.ReceivedMessages))
	for i, received := range answer.ReceivedMessages {
		letters[i] = deadLetter(received)
	}
	return letters, nil
}

func deadLetter(received *pubsubpb.ReceivedMessage) DeadLetter {
	m := received.GetMessage()
	letter := DeadLetter{ID: m.GetMessageId(), Since: m.GetPublishTime().AsTime(), ack: received.GetAckId()}
	letter.Attempts, _ = strconv.Atoi(m.GetAttributes()[deliveryCount])
	letter.Message, letter.Err = parse(m.GetData())
	letter.Message.TraceParent = m.GetAttributes()[traceAttribute]
	return letter
}

// GiveBack ends the lease: the letters can be pulled again.
func (d *DeadLetters) GiveBack(ctx context.Context, letters ...DeadLetter) error {
	return d.modify(ctx, letters, 0)
}

// Remove acknowledges the letters: they are gone.
func (d *DeadLetters) Remove(ctx context.Context, letters ...DeadLetter) error {
	return change("remove dead letters", letters, func(ids []string) error {
		return d.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: d.name, AckIds: ids})
	})
}

func (d *DeadLetters) modify(ctx context.Context, letters []DeadLetter, lease time.Duration) error {
	return change("lease dead letters", letters, func(ids []string) error {
		return d.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
			Subscription: d.name, AckIds: ids, AckDeadlineSeconds: int32(lease.Seconds()),
		})
	})
}

func change(doing string, letters []DeadLetter, call func(ids []string) error) error {
	if len(letters) == 0 {
		return nil
	}
	ids := make([]string, len(letters))
	for i, letter := range letters {
		ids[i] = letter.ack
	}
	if err := call(ids); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
