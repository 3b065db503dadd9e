package relay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

func stockNotice(suite, level string, count int) topic.Notice {
	return topic.Notice{
		ID: fmt.Sprintf("%s:%s:%s:0", bob, suite, level), OwnerPubkey: bob, Ciphersuite: suite, Level: level, Count: count,
	}
}

func hearStock(t *testing.T, ns *notices, heard ...topic.Notice) {
	t.Helper()
	for _, n := range heard {
		if err := ns.hearStock(n); err != nil {
			t.Error(err)
		}
	}
}

// toldStock returns what a client has been told about its stock: suite and level.
func toldStock(t *testing.T, c *client) []string {
	t.Helper()
	var told []string
	for _, frame := range c.flush(t) {
		var message []json.RawMessage
		var event nostr.Event
		var n topic.Notice
		if err := json.Unmarshal([]byte(frame), &message); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(message[2], &event); err != nil {
			t.Fatal(err)
		}
		if ok, err := event.CheckSignature(); !ok || err != nil || !event.CheckID() || !nostr.IsEphemeralKind(event.Kind) {
			t.Errorf("the notice does not verify, or is kept: kind %d, %v", event.Kind, err)
		}
		if event.Tags.FindWithValue("p", bob) == nil || event.Tags.Find("e") != nil {
			t.Errorf("tags %v", event.Tags)
		}
		if err := json.Unmarshal([]byte(event.Content), &n); err != nil {
			t.Fatal(err)
		}
		told = append(told, n.Ciphersuite+" "+n.Level)
	}
	return told
}

func TestOwnerIsToldAboutItsStockOnce(t *testing.T) {
	t.Parallel()
	_, clock := fixedClock()
	ss := newSessions(matching{}, clock)
	ns := outcomes(ss)
	filter := nostr.Filter{Kinds: []int{KindStock}, Tags: nostr.TagMap{"p": {bob}}}
	owner, stranger := online(t, ss, bob), online(t, ss, alice)
	owner.subscribe(t.Context(), "s", filter)
	stranger.subscribe(t.Context(), "s", filter)
	low, last := stockNotice("0x0001", "low", 3), stockNotice("0x0001", "last", 1)
	hearStock(t, ns, low, low, last, low, last)
	if got := strings.Join(toldStock(t, owner), ", "); got != "0x0001 low, 0x0001 last" {
		t.Errorf("the owner was told %s", got)
	}
	if got := toldStock(t, stranger); len(got) != 0 {
		t.Errorf("a stranger was told %s", got)
	}
}

func TestOwnerWhoWasAwayIsToldTheLatest(t *testing.T) {
	t.Parallel()
	now, clock := fixedClock()
	ss := newSessions(matching{}, clock)
	ns := outcomes(ss)
	hearStock(t, ns, stockNotice("0x0001", "low", 3), stockNotice("0x0002", "low", 2), stockNotice("0x0001", "empty", 0))
	*now = start.Add(24 * time.Hour)
	owner := online(t, ss, bob)
	owner.subscribe(t.Context(), "s", nostr.Filter{Kinds: []int{KindStock}})
	if err := ns.tell(bob); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(toldStock(t, owner), ", "); got != "0x0002 low, 0x0001 empty" {
		t.Errorf("the owner was told %s", got)
	}
}

func TestNoticeOfTheStockGrowsTooOld(t *testing.T) {
	t.Parallel()
	now, clock := fixedClock()
	ss := newSessions(matching{}, clock)
	ns := outcomes(ss)
	hearStock(t, ns, stockNotice("0x0001", "low", 3))
	*now = start.Add(stockLife)
	owner := online(t, ss, bob)
	owner.subscribe(t.Context(), "s", nostr.Filter{Kinds: []int{KindStock}})
	if err := ns.tell(bob); err != nil {
		t.Fatal(err)
	}
	if got := toldStock(t, owner); len(got) != 0 {
		t.Errorf("a week later the owner was told %s", got)
	}
}
