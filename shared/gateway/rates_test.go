package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
)

// Frames that cost something are bounded, each kind in the protocol's words, and the session goes on.
func TestRates(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	c := r.dial(t)
	c.login(key)
	last := func(n int, frame func(i int) string) (answer []any) {
		for i := range n {
			c.send(frame(i))
			for answer = nil; answer == nil || answer[0] == "EVENT"; {
				answer = c.any()
			}
			if text, _ := answer[len(answer)-1].(string); strings.HasPrefix(text, "rate-limited:") {
				return answer
			}
		}
		t.Errorf("%d times: %v", n, answer)
		return answer
	}
	event := func(kind int) func(int) string {
		frame := fmt.Sprintf(`["EVENT",{"id":"i","kind":%d}]`, kind) // is counted before it is verified
		return func(int) string { return frame }
	}
	for _, kind := range []int{443, 5, 447} {
		if got := last(600, event(kind)); got[0] != "OK" {
			t.Errorf("kind %d: %v", kind, got)
		}
	}
	if got := last(60, func(int) string { return `["AUTH",{"id":"i"}]` }); got[0] != "OK" {
		t.Errorf("AUTH: %v", got)
	}
	if got := last(300, func(int) string { return req("own", `{"kinds":[443],"authors":[%q]}`, pub(key)) }); got[0] != "CLOSED" {
		t.Errorf("REQ: %v", got)
	}
	if got := last(300, func(i int) string { return fmt.Sprintf(`["REQ","%d",{"kinds":[9]}]`, i) }); got[0] != "CLOSED" {
		t.Errorf("subscriptions: %v", got)
	}
	asker := r.dial(t)
	asker.login(newKey())
	c = asker
	owners := make([]string, 32)
	for i := range owners {
		owners[i] = fmt.Sprintf("%064x", i)
	}
	if got := last(40, func(int) string { return req("a", `{"kinds":[443],"authors":["%s"]}`, strings.Join(owners, `","`)) }); got[0] != "CLOSED" {
		t.Errorf("requests: %v", got)
	}
	e := signed(key, 1, "still here")
	c.send(publish(e))
	c.accepted(e.ID)
}

func TestManyTags(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	tags := make([]nostr.Tag, 1500)
	for i := range tags {
		tags[i] = nostr.Tag{"e", fmt.Sprintf("%064x", i)}
	}
	e := signed(key, 5, "", tags...)
	c := r.dial(t)
	c.send(publish(e))
	c.accepted(e.ID)
	if bounds.MaxDeletionTags != 100 {
		t.Error("the NIP-11 document and the contract say 100")
	}
}
