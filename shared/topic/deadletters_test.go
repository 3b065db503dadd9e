package topic_test

import (
	"fmt"
	"reflect"
	"testing"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// pullable creates the topic with a pull subscription of the same id.
func pullable(t *testing.T, project string) *pubsub.Client {
	t.Helper()
	return subscribed(t, project, nil)
}

// subscribed creates the topic with a subscription of the same id, which pushes if it is told where to.
func subscribed(t *testing.T, project string, push *pubsubpb.PushConfig) *pubsub.Client {
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
		Name: fmt.Sprintf("projects/%s/subscriptions/%s", project, topicID), Topic: name, PushConfig: push,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestDeadLettersAreReadGivenBackAndRemoved(t *testing.T) {
	t.Parallel()
	project := emutest.Project(t)
	client := pullable(t, project) // its topic plays the dead-letter topic
	for _, m := range []*pubsub.Message{
		{
			Data: []byte(`{"request_event_id":"` + id + `"}`),
			Attributes: map[string]string{
				"CloudPubSubDeadLetterSourceDeliveryCount": "20", "traceparent": "00-a-b-01",
			},
		},
		{Data: []byte("no JSON")},
	} {
		if _, err := client.Publisher(topicID).Publish(t.Context(), m).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := topic.NewDeadLetters(t.Context(), project, topicID)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()

	letters := pull(t, dead, 2)
	good, bad := letters[0], letters[1]
	if good.Err != nil {
		good, bad = bad, good
	}
	if want := (topic.Message{Request: of(id), TraceParent: "00-a-b-01"}); !reflect.DeepEqual(good.Message, want) || good.Attempts != 20 || good.Since.IsZero() {
		t.Errorf("got %+v, want %+v after 20 attempts", good, want)
	}
	if bad.Err == nil || !reflect.DeepEqual(bad.Message, topic.Message{}) {
		t.Errorf("got %+v of what is no message", bad)
	}

	if err := dead.GiveBack(t.Context(), letters...); err != nil {
		t.Fatal(err)
	}
	letters = pull(t, dead, 2)
	if err := dead.Remove(t.Context(), letters...); err != nil {
		t.Fatal(err)
	}
	pull(t, dead, 0)
}

// pull expects n letters.
func pull(t *testing.T, dead *topic.DeadLetters, n int) []topic.DeadLetter {
	t.Helper()
	letters, err := dead.Pull(t.Context(), 10)
	if err != nil || len(letters) != n {
		t.Fatalf("Pull = %d letters, %v; want %d", len(letters), err, n)
	}
	return letters
}

func TestDeadLettersNeedASubscription(t *testing.T) {
	t.Parallel()
	dead, err := topic.NewDeadLetters(t.Context(), emutest.Project(t), "absent")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	if letters, err := dead.Pull(t.Context(), 10); err == nil || len(letters) > 0 {
		t.Errorf("Pull = %v, %v without a subscription", letters, err)
	}
}
