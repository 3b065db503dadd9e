package relay

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

var noneRows = []relayapi.OutcomeRow{{Owner: bob, Requested: 1, Reason: "none"}}

func outcomes(ss *sessions) *notices {
	n, err := newNotices(ss, ss.now)
	if err != nil {
		panic(err) // the key is made here
	}
	return n
}

func hear(t *testing.T, n *notices, request string) {
	t.Helper()
	if err := n.hear(request, alice, noneRows); err != nil {
		t.Error(err)
	}
}

func tell(t *testing.T, n *notices) {
	t.Helper()
	if err := n.tell(alice); err != nil {
		t.Error(err)
	}
}

// flush returns what the client has received when everything queued until now is written.
func (c *client) flush(t *testing.T) []string {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	c.subscribe(ctx, "flush", nostr.Filter{Kinds: []int{9}})
	p := parcel{id: "flush" + t.Name() + time.Now().String(), event: &nostr.Event{Kind: 9}, raw: "0", expires: c.now().Add(time.Second)}
	if got := c.push(p, matching{}, nil).wait(t.Context()); got != relayapi.Delivered {
		t.Fatalf("flush: %q", got)
	}
	c.unsubscribe(ctx, "flush")
	var received []string
	for _, frame := range c.received() {
		if !strings.HasPrefix(frame, `["EVENT","flush"`) {
			received = append(received, frame)
		}
	}
	return received
}

func TestOutcomeIsToldOnce(t *testing.T) {
	t.Parallel()
	now, clock := fixedClock()
	ss := newSessions(matching{}, clock)
	n := outcomes(ss)
	c := connect(t, ss, alice)
	c.login()
	hear(t, n, "r1") // nobody listens yet
	*now = start.Add(4 * time.Minute)
	since := nostr.Timestamp(now.Unix() - 10)
	c.subscribe(t.Context(), "s", nostr.Filter{Kinds: []int{KindOutcome}, Tags: nostr.TagMap{"e": {"r1"}}, Since: &since})
	tell(t, n)
	tell(t, n)
	hear(t, n, "r1")
	stranger := online(t, ss, bob)
	stranger.subscribe(t.Context(), "s", nostr.Filter{})
	frames := c.flush(t)
	if len(frames) != 1 || len(stranger.flush(t)) != 0 {
		t.Fatalf("the requester received %q", frames)
	}
	later := online(t, ss, alice)
	later.subscribe(t.Context(), "s", nostr.Filter{})
	tell(t, n)
	if got := later.flush(t); len(got) != 0 {
		t.Errorf("told again: %q", got)
	}

	var message []json.RawMessage
	var event nostr.Event
	var content relayapi.Outcome
	if err := json.Unmarshal([]byte(frames[0]), &message); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(message[2], &event); err != nil {
		t.Fatal(err)
	}
	if ok, err := event.CheckSignature(); !ok || err != nil || !event.CheckID() {
		t.Errorf("the notice does not verify: %v", err)
	}
	if err := json.Unmarshal([]byte(event.Content), &content); err != nil || len(content.Rows) != 1 || content.Rows[0] != noneRows[0] {
		t.Errorf("content is %q (%v)", event.Content, err)
	}
	if !nostr.IsEphemeralKind(event.Kind) || event.Tags.FindWithValue("e", "r1") == nil || event.Tags.FindWithValue("p", alice) == nil {
		t.Errorf("got kind %d, tags %v", event.Kind, event.Tags)
	}
}

func TestOutcomeGrowsTooOld(t *testing.T) {
	t.Parallel()
	now, clock := fixedClock()
	ss := newSessions(matching{}, clock)
	n := outcomes(ss)
	hear(t, n, "r1")
	*now = start.Add(outcomeLife)
	hear(t, n, "r1") // the age counts from the first time
	c := connect(t, ss, alice)
	c.login()
	c.subscribe(t.Context(), "s", nostr.Filter{})
	tell(t, n)
	hear(t, n, "r2")
	if frames := c.flush(t); len(frames) != 1 || !strings.Contains(frames[0], `"r2"`) {
		t.Errorf("received %q", frames)
	}
}
