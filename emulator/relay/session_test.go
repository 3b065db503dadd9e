package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	alice = "a11ce00000000000000000000000000000000000000000000000000000000000"
	bob   = "b0b0000000000000000000000000000000000000000000000000000000000000"
)

var start = time.Unix(1_795_415_479, 0)

func keyPackages(authors ...string) nostr.Filter {
	return nostr.Filter{Kinds: []int{443}, Authors: authors}
}

// bobsParcel is good for five minutes from start.
func bobsParcel(id string) parcel {
	event := &nostr.Event{ID: "e" + id, PubKey: bob, Kind: 443, CreatedAt: nostr.Timestamp(start.Unix()) - 3600}
	return parcel{id: id, event: event, raw: `{"raw":"` + id + `"}`, requestID: "r1", expires: start.Add(5 * time.Minute)}
}

// client is the other end of a session.
type client struct {
	*session
	login, leave context.CancelFunc

	mu     sync.Mutex
	frames []string
	fail   error
}

// connect opens a session in ss whose client authenticates as pubkey when login is called.
func connect(t *testing.T, ss *sessions, pubkey string) *client {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	authenticated, login := context.WithCancel(t.Context())
	c := &client{login: login, leave: leave}
	c.session = newSession(ctx, asLogin(authenticated, pubkey), c.receive, ss.now)
	ss.add(c, c.session)
	return c
}

func asLogin(authenticated context.Context, pubkey string) login {
	return login{done: authenticated.Done(), pubkey: func() string { return pubkey }}
}

func (c *client) receive(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = append(c.frames, string(frame))
	return c.fail
}

func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.frames...)
}

// online is a client that has authenticated and subscribed to everything of kind 443.
func online(t *testing.T, ss *sessions, pubkey string) *client {
	t.Helper()
	c := connect(t, ss, pubkey)
	c.login()
	c.subscribe(t.Context(), "s", keyPackages(bob))
	return c
}

func fixedClock() (*time.Time, func() time.Time) {
	now := start
	return &now, func() time.Time { return now }
}

func strict() *sessions {
	_, clock := fixedClock()
	return newSessions(matching{}, clock)
}

func expect(t *testing.T, ss *sessions, p parcel, want relayapi.Status) {
	t.Helper()
	if got := ss.push(alice, p)(t.Context()); got != want {
		t.Errorf("parcel %s: got %q, want %q", p.id, got, want)
	}
}

func (c *client) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := c.received(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

func TestPushReachesTheRequesterOnly(t *testing.T) {
	t.Parallel()
	ss := strict()
	first, second, stranger := online(t, ss, alice), online(t, ss, alice), online(t, ss, bob)
	anonymous := connect(t, ss, alice)
	anonymous.subscribe(t.Context(), "s", keyPackages())
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	first.expect(t, `["EVENT","s",{"raw":"1"}]`)
	second.expect(t, `["EVENT","s",{"raw":"1"}]`)
	stranger.expect(t)
	anonymous.expect(t)
}

func TestPushIsSentOncePerSession(t *testing.T) {
	t.Parallel()
	ss := strict()
	first := online(t, ss, alice)
	first.subscribe(t.Context(), "another", keyPackages(bob))
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	first.expect(t, `["EVENT","another",{"raw":"1"}]`)

	first.unsubscribe(t.Context(), "s")
	first.unsubscribe(t.Context(), "another")
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	expect(t, ss, bobsParcel("2"), relayapi.NoSubscription)

	second := online(t, ss, alice)
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	second.expect(t, `["EVENT","s",{"raw":"1"}]`)
	ss.remove(first)
	ss.remove(first)
	ss.remove(second)
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	expect(t, ss, bobsParcel("2"), relayapi.NoSession)
}

func TestPushWithoutReceiver(t *testing.T) {
	t.Parallel()
	ss := strict()
	expect(t, ss, bobsParcel("1"), relayapi.NoSession)
	c := connect(t, ss, alice)
	c.subscribe(t.Context(), "s", keyPackages(alice))
	expect(t, ss, bobsParcel("1"), relayapi.NoSession) // not authenticated
	c.login()
	expect(t, ss, bobsParcel("1"), relayapi.NoSubscription)
	c.subscribe(t.Context(), "t", nostr.Filter{Kinds: []int{443}, Limit: 0, LimitZero: true})
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	c.expect(t, `["EVENT","t",{"raw":"1"}]`)
}

func TestNothingIsBegunAfterExpiry(t *testing.T) {
	t.Parallel()
	now, clock := fixedClock()
	ss := newSessions(matching{}, clock)
	c := online(t, ss, alice)
	*now = start.Add(5 * time.Minute)
	expect(t, ss, bobsParcel("1"), relayapi.NoSession)
	c.expect(t)
	*now = start.Add(5*time.Minute - time.Nanosecond)
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
}

func TestBrokenWriteIsUnknown(t *testing.T) {
	t.Parallel()
	ss := strict()
	c := online(t, ss, alice)
	c.fail = errors.New("broken pipe")
	expect(t, ss, bobsParcel("1"), relayapi.Unknown)
	expect(t, ss, bobsParcel("1"), relayapi.Unknown)
	if n := len(c.received()); n != 1 {
		t.Errorf("tried %d times", n)
	}
	online(t, ss, alice)
	expect(t, ss, bobsParcel("1"), relayapi.Delivered) // the other session has it for certain
}

// stuck is a session whose first write hangs until release is called.
func stuck(t *testing.T, ss *sessions) (c *client, begun <-chan struct{}, release func()) {
	t.Helper()
	started, gate := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(started) })
	authenticated, login := context.WithCancel(t.Context())
	login()
	c = &client{}
	c.session = newSession(t.Context(), asLogin(authenticated, alice), func(frame []byte) error {
		once()
		<-gate
		return c.receive(frame)
	}, ss.now)
	c.subscribe(t.Context(), "s", keyPackages(bob))
	ss.add(c, c.session)
	return c, started, sync.OnceFunc(func() { close(gate) })
}

func TestStuckSession(t *testing.T) {
	t.Parallel()
	ss := strict()
	c, begun, release := stuck(t, ss)
	defer release()
	first := ss.push(alice, bobsParcel("1"))
	<-begun
	second := ss.push(alice, bobsParcel("2"))
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if got := first(late); got != relayapi.Unknown {
		t.Errorf("begun: got %q, want unknown", got)
	}
	if got := second(late); got != relayapi.NoSession {
		t.Errorf("not begun: got %q, want no_session", got)
	}
	again := ss.push(alice, bobsParcel("2")) // what was dropped may be tried again
	release()
	if got := again(t.Context()); got != relayapi.Delivered {
		t.Errorf("tried again: got %q, want delivered", got)
	}
	expect(t, ss, bobsParcel("1"), relayapi.Delivered) // it finished after all
	c.expect(t, `["EVENT","s",{"raw":"1"}]`, `["EVENT","s",{"raw":"2"}]`)
}

func TestStuckSessionWithoutMatchIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	ss := strict()
	c, begun, release := stuck(t, ss)
	defer release()
	ss.push(alice, bobsParcel("1"))
	<-begun
	c.unsubscribe(t.Context(), "s")
	expect(t, ss, bobsParcel("2"), relayapi.NoSubscription)
}

func TestSubscriptionIsChosenWhenItsTurnHasCome(t *testing.T) {
	t.Parallel()
	ss := strict()
	c, begun, release := stuck(t, ss)
	ss.push(alice, bobsParcel("1"))
	<-begun
	second := ss.push(alice, bobsParcel("2"))
	c.unsubscribe(t.Context(), "s")
	release()
	if got := second(t.Context()); got != relayapi.NoSubscription {
		t.Errorf("got %q, want no_subscription", got)
	}
}

func TestSessionThatEndsDropsItsQueue(t *testing.T) {
	t.Parallel()
	ss := strict()
	c := online(t, ss, alice)
	c.leave()
	expect(t, ss, bobsParcel("1"), relayapi.NoSession)
	c.expect(t)
}

func TestRequestWithTheSameIDReplaces(t *testing.T) {
	t.Parallel()
	ss := strict()
	c := connect(t, ss, alice)
	c.login()
	older, closeOlder := context.WithCancel(t.Context())
	newer, closeNewer := context.WithCancel(t.Context())
	defer closeNewer()
	c.subscribe(older, "s", keyPackages(bob))
	c.subscribe(newer, "s", nostr.Filter{Kinds: []int{1}})
	expect(t, ss, bobsParcel("1"), relayapi.NoSubscription)
	c.subscribe(newer, "s", keyPackages(bob)) // the second filter of the newer REQ
	closeOlder()
	c.unsubscribe(older, "s") // the older one's end does not end it
	expect(t, ss, bobsParcel("1"), relayapi.Delivered)
	c.unsubscribe(newer, "s")
	expect(t, ss, bobsParcel("2"), relayapi.NoSubscription)
}

func TestMatching(t *testing.T) {
	t.Parallel()
	before, after := nostr.Timestamp(start.Unix()-3601), nostr.Timestamp(start.Unix()-10)
	tests := map[string]struct {
		filter             nostr.Filter
		strict, compatible bool
	}{
		"everything":       {nostr.Filter{}, true, true},
		"kind and author":  {keyPackages(bob), true, true},
		"other kind":       {nostr.Filter{Kinds: []int{30443}}, false, false},
		"other author":     {keyPackages(alice), false, false},
		"limit":            {nostr.Filter{Kinds: []int{443}, LimitZero: true}, true, true},
		"since before":     {nostr.Filter{Since: &before}, true, true},
		"since after":      {nostr.Filter{Since: &after}, false, true},
		"until before":     {nostr.Filter{Until: &before}, false, true},
		"names request":    {nostr.Filter{Kinds: []int{443}, Tags: nostr.TagMap{"e": {"r0", "r1"}}}, false, true},
		"other request":    {nostr.Filter{Kinds: []int{443}, Tags: nostr.TagMap{"e": {"r2"}}}, false, false},
		"request, and tag": {nostr.Filter{Tags: nostr.TagMap{"e": {"r1"}, "h": {"g"}}}, false, false},
	}
	for name, tt := range tests {
		for compatible, want := range map[bool]bool{false: tt.strict, true: tt.compatible} {
			if got := (matching{compatible}).wants(bobsParcel("1"))(tt.filter); got != want {
				t.Errorf("%s, compatible %v: got %v", name, compatible, got)
			}
		}
		if tt.filter.Tags != nil && len(tt.filter.Tags["e"]) == 0 {
			t.Errorf("%s: the filter was changed", name)
		}
	}
}

func TestBroadcast(t *testing.T) {
	t.Parallel()
	ss := strict()
	author, other := online(t, ss, bob), online(t, ss, alice)
	author.subscribe(t.Context(), "t", nostr.Filter{Kinds: []int{1, 443}})
	other.subscribe(t.Context(), "u", nostr.Filter{Kinds: []int{1}})
	keyPackage := &nostr.Event{ID: "1", PubKey: bob, Kind: 443}
	ss.broadcast(keyPackage)
	ss.broadcast(&nostr.Event{ID: "2", PubKey: bob, Kind: 1})
	for _, c := range []*client{author, other} { // everything is queued; a last write tells when the queue is done
		c.subscribe(t.Context(), "last", nostr.Filter{Kinds: []int{9}})
		last := bobsParcel("last")
		last.event = &nostr.Event{Kind: 9}
		c.push(last, matching{}, nil).wait(t.Context())
	}
	if got := author.received(); len(got) != 4 || !strings.HasPrefix(got[0], `["EVENT","s",{"kind":443`) || !strings.HasPrefix(got[1], `["EVENT","t",{"kind":443`) {
		t.Errorf("the author received %q", got)
	}
	if got := other.received(); len(got) != 2 || !strings.HasPrefix(got[0], `["EVENT","u",{"kind":1,`) {
		t.Errorf("somebody else received %q", got)
	}
}

// TestConcurrentPushes lets everything happen at once; the race detector and the counts judge.
func TestConcurrentPushes(t *testing.T) {
	t.Parallel()
	ss := newSessions(matching{}, time.Now)
	c := online(t, ss, alice)
	const parcels, pushers = 50, 8
	var all sync.WaitGroup
	for range pushers {
		all.Go(func() {
			for i := range parcels {
				p := bobsParcel(fmt.Sprint(i))
				p.expires = time.Now().Add(time.Hour)
				expect(t, ss, p, relayapi.Delivered)
			}
		})
		all.Go(func() {
			guest := online(t, ss, bob)
			guest.unsubscribe(t.Context(), "s")
			ss.remove(guest)
		})
	}
	all.Wait()
	if n := len(c.received()); n != parcels {
		t.Errorf("%d frames for %d parcels", n, parcels)
	}
}
