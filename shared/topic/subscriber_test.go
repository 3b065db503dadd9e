package topic_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// pullable creates the topic with a pull subscription of the same id.
func pullable(t *testing.T, project string) *pubsub.Client {
	t.Helper()
	client, err := pubsub.NewClient(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	name := fmt.Sprintf("projects/%s/topics/%s", project, topicID)
	if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
		t.Fatal(err)
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: fmt.Sprintf("projects/%s/subscriptions/%s", project, topicID), Topic: name,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestNoticesArrive(t *testing.T) {
	t.Parallel()
	project := emutest.Project(t)
	client := pullable(t, project)
	notice := keypackage.Notice{
		Owner: id, Suite: "0x0001",
		Supply: keypackage.Supply{Level: keypackage.LevelEmpty, Epoch: 2, At: time.Unix(1_700_000_000, 0)},
	}
	want := topic.Notice{ID: notice.ID(), OwnerPubkey: id, Ciphersuite: "0x0001", Level: "empty", Epoch: 2, At: 1_700_000_000}
	for _, data := range []string{"no JSON", `{}`, `{"id":"n","level":"low","owner_pubkey":"bob"}`} {
		if _, err := client.Publisher(topicID).Publish(t.Context(), &pubsub.Message{Data: []byte(data)}).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := publisher(t, project).PublishNotices(t.Context(), []keypackage.Notice{notice}); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	refused, taken := 0, false
	done := func() {
		if taken && refused >= 3 {
			cancel()
		}
	}
	take := func(n topic.Notice) {
		if n != want {
			t.Errorf("received %+v, want %+v", n, want)
		}
		taken = true
		done()
	}
	refuse := func(error) { refused++; done() }
	if err := topic.ReceiveNotices(ctx, project, topicID, take, refuse); err != nil {
		t.Error(err)
	}
}

func TestNoticesNeedASubscription(t *testing.T) {
	t.Parallel()
	nobody := func(error) { t.Error("called") }
	err := topic.ReceiveNotices(t.Context(), emutest.Project(t), "absent", func(topic.Notice) { nobody(nil) }, nobody)
	if err == nil {
		t.Error("no error without a subscription")
	}
}
