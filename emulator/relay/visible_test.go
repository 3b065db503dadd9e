package relay

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

var everything = nostr.Filter{}

func TestKeyPackagesAreShownToTheirAuthorOnly(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice := l.join(t).login(), l.join(t).login()
	anonymous, bobElsewhere := l.join(t), bob.again().login()
	stored := bob.mustPublish(bob.event(443, "one"))
	for name, stranger := range map[string]*user{"requester": alice, "anonymous": anonymous} {
		for _, filter := range []nostr.Filter{everything, {Kinds: []int{443}}, {Authors: []string{bob.pubkey}}, {IDs: []string{stored.ID}}} {
			if got := stranger.stored("s", filter); len(got) != 0 {
				t.Errorf("%s: %v showed %v", name, filter, got)
			}
		}
		stranger.send("CLOSE", "s")
		stranger.stored("all", everything)
	}
	if got := bobElsewhere.stored("s", nostr.Filter{Kinds: []int{443}}); !slices.Equal(got, []string{stored.ID}) {
		t.Errorf("the author sees %v", got)
	}
	if got := bobElsewhere.stored("s", nostr.Filter{Authors: []string{alice.pubkey}}, everything); !slices.Equal(got, []string{stored.ID}) {
		t.Errorf("the author sees %v", got)
	}

	fresh := bob.mustPublish(bob.event(443, "two"))
	note := bob.mustPublish(bob.event(1, "three"))
	if _, frame := bobElsewhere.next("EVENT"); frame != fmt.Sprintf(`["EVENT","s",%s]`, fresh) {
		t.Errorf("the author was told %s", frame)
	}
	for _, stranger := range []*user{alice, anonymous} { // the note came last, so they were not told of the KeyPackage
		if _, frame := stranger.next("EVENT"); frame != fmt.Sprintf(`["EVENT","all",%s]`, note) {
			t.Errorf("a stranger was told %s", frame)
		}
	}
}

func TestRequestWithTheSameIDGetsOneCopy(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	reader, writer := l.join(t), l.join(t)
	reader.stored("s", nostr.Filter{Kinds: []int{1, 20001}})
	reader.stored("s", nostr.Filter{Kinds: []int{1}}, nostr.Filter{Kinds: []int{20001}})
	for i, kind := range []int{1, 20001, 1} {
		e := writer.mustPublish(writer.event(kind, fmt.Sprint(i)))
		if _, frame := reader.next("EVENT"); frame != fmt.Sprintf(`["EVENT","s",%s]`, e) {
			t.Errorf("got %s, want %s", frame, e.ID)
		}
	}
}

func TestNudges(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	expect := func(u *user) {
		t.Helper()
		if got := l.nudge(t); got != u.pubkey {
			t.Errorf("nudged %s, want %s", got, u.pubkey)
		}
	}
	owner := l.join(t).login()
	owner.stored("own", nostr.Filter{Kinds: []int{443}, Authors: []string{owner.pubkey}}) // no nudge
	owner.stored("notes", nostr.Filter{Kinds: []int{1}})                                  // nor here

	alice := l.join(t).login()
	alice.stored("s", nostr.Filter{Kinds: []int{30443, 443}, Authors: []string{owner.pubkey}})
	expect(alice)
	alice.stored("notes", nostr.Filter{Kinds: []int{1}}) // nor here
	alice.stored("t", everything)
	expect(alice)

	early := l.join(t)
	early.stored("s", nostr.Filter{Kinds: []int{443}, LimitZero: true})
	early.login()
	expect(early)
	if len(l.nudges) != 0 {
		t.Errorf("one nudge too many: %s", <-l.nudges)
	}
}

func TestOthersAuthenticationIsRefused(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	u := l.join(t)
	for name, tags := range map[string]nostr.Tags{
		"for another relay": {{"relay", "wss://relay.example"}, {"challenge", u.challenge}},
		"other challenge":   {{"relay", "ws://" + l.address}, {"challenge", "0123"}},
	} {
		u.send("AUTH", u.event(nostr.KindClientAuthentication, "", tags...))
		if ok, frame := u.next("OK"); string(ok[2]) != "false" {
			t.Errorf("%s: got %s", name, frame)
		}
	}
	if reason := u.publish(u.event(nostr.KindClientAuthentication, "")); reason == "" {
		t.Error("an authentication was published")
	}
	u.stored("s", nostr.Filter{Kinds: []int{443}})
	owner := l.join(t)
	l.pushOne(t, u.pubkey, deliveryOf(owner.event(keypackage.KindKeyPackage, "")), relayapi.NoSession)
}
