package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cloud.google.com/go/pubsub/v2"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// errBadNotice says that a message of the notice topic is none.
var errBadNotice = errors.New("not a notice: no id, owner or level")

// ReceiveNotices pulls notices from a subscription in project and hands them to take, one at a time, until ctx ends; then
// it returns nil. A notice is acknowledged when take returns, also if it could not be told to anybody: notices are best
// effort, and their numbers soon out of date. What is no notice is acknowledged and given to refuse, because it will not
// get better. It fails if the subscription cannot be read.
func ReceiveNotices(ctx context.Context, project, subscriptionID string, take func(Notice), refuse func(error)) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	defer client.Close()
	subscription := client.Subscriber(subscriptionID)
	subscription.ReceiveSettings.NumGoroutines = 1
	subscription.ReceiveSettings.MaxOutstandingMessages = 1
	err = subscription.Receive(ctx, func(_ context.Context, message *pubsub.Message) {
		defer message.Ack()
		if notice, err := parseNotice(message.Data); err != nil {
			refuse(err)
		} else {
			take(notice)
		}
	})
	if err != nil {
		return fmt.Errorf("receive notices: %w", err)
	}
	return nil
}

func parseNotice(data []byte) (Notice, error) {
	var n Notice
	if err := json.Unmarshal(data, &n); err != nil {
		return Notice{}, fmt.Errorf("notice: %w", err)
	}
	if n.ID == "" || n.Level == "" || !keypackage.IsPubkey(n.OwnerPubkey) {
		return Notice{}, errBadNotice
	}
	return n, nil
}
