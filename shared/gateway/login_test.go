package gateway_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

func TestChallengesAreTheConnectionsOwn(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	a, b := r.dial(t), r.dial(t)
	if a.challenge == b.challenge || len(a.challenge) < 20 {
		t.Errorf("challenges %q and %q", a.challenge, b.challenge)
	}
	e := a.auth(newKey())
	b.send(`["AUTH",` + e.Raw + `]`)
	b.refused(e.ID, "invalid:")
}

func TestLogin(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *gateway.Config) { c.Hosts = append(c.Hosts, "Relay.example", "relay.example:7000") })
	c := r.dial(t)
	good := func() *nostr.Event {
		return &nostr.Event{
			Kind: 22242, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"relay", c.relay}, {"challenge", c.challenge}}, Content: "",
		}
	}
	relay := func(url string) func(*nostr.Event) { return func(e *nostr.Event) { e.Tags[0][1] = url } }
	for name, tt := range map[string]struct {
		edit func(*nostr.Event)
		good bool
	}{
		"good":                 {func(*nostr.Event) {}, true},
		"nine minutes ago":     {func(e *nostr.Event) { e.CreatedAt -= 540 }, true},
		"eleven minutes ago":   {func(e *nostr.Event) { e.CreatedAt -= 660 }, false},
		"eleven minutes ahead": {func(e *nostr.Event) { e.CreatedAt += 660 }, false},
		"another kind":         {func(e *nostr.Event) { e.Kind = 22243 }, false},
		"another challenge":    {func(e *nostr.Event) { e.Tags[1][1] = "x" }, false},
		"no challenge":         {func(e *nostr.Event) { e.Tags = e.Tags[:1] }, false},
		"no relay":             {func(e *nostr.Event) { e.Tags = e.Tags[1:] }, false},
		"a public name":        {relay("wss://RELAY.example/path"), true},
		"with a port":          {relay("wss://relay.example:7000/"), true},
		"IPv4":                 {relay("ws://127.0.0.1:1/"), true},
		"another name":         {relay("wss://relay.example.evil"), false},
		"a name in the path":   {relay("wss://evil/relay.example"), false},
		"a name as user":       {relay("wss://relay.example@evil/"), false},
		"another scheme":       {relay("https://relay.example"), false},
		"no URL":               {relay("relay.example"), false},
	} {
		c := r.dial(t)
		e := good()
		if len(e.Tags) > 1 && name != "another challenge" {
			e.Tags[1][1] = c.challenge
		}
		tt.edit(e)
		if err := e.Sign(newKey()); err != nil {
			t.Fatal(err)
		}
		c.send(`["AUTH",` + e.String() + `]`)
		if tt.good {
			c.accepted(e.ID)
		} else {
			c.refused(e.ID, "invalid:")
		}
		_ = name
	}
}

func TestAnAUTHThatIsRewrittenIsRefused(t *testing.T) {
	t.Parallel()
	c := start(t, nil).dial(t)
	e := c.auth(newKey())
	for _, raw := range []string{
		strings.Replace(e.Raw, `"content"`, `"content":"","content"`, 1), strings.Replace(e.Raw, `"kind"`, `"KIND":1,"kind"`, 1),
		strings.Replace(e.Raw, `"sig":"`, `"sig":"0`, 1), strings.Replace(e.Raw, e.PubKey, pub(newKey()), 1),
	} {
		c.send(`["AUTH",` + raw + `]`)
		c.refused(e.ID, "invalid:")
	}
	c.send(`["AUTH",` + e.Raw + `]`)
	c.accepted(e.ID)
}

func TestAtMostSixteenKeys(t *testing.T) {
	t.Parallel()
	c := start(t, nil).dial(t)
	first := newKey()
	c.login(first)
	for range 15 {
		c.login(newKey())
	}
	e := c.auth(newKey())
	c.send(`["AUTH",` + e.Raw + `]`)
	c.refused(e.ID, "restricted:")
	c.login(first) // is one of them
}

// nostr clients in use authenticate when they are told that it is required, and leave at EOSE.
func TestGoNostrPool(t *testing.T) {
	t.Parallel()
	r, alice, bob := start(unending{t}, nil), newKey(), newKey()
	stock := r.stocked(bob, 443, 443)
	own := r.stocked(alice, 443, 443, 443)
	pool := nostr.NewSimplePool(context.Background(), nostr.WithAuthHandler(func(_ context.Context, e nostr.RelayEvent) error { return e.Sign(alice) }))
	fetch := func(filter nostr.Filter) []string {
		var ids []string
		for e := range pool.FetchMany(t.Context(), []string{r.url}, filter) {
			ids = append(ids, e.ID)
		}
		slices.Sort(ids)
		return ids
	}
	if got := fetch(nostr.Filter{Kinds: []int{443}, Authors: []string{pub(bob)}}); !slices.Equal(got, []string{stock[0].ID}) {
		t.Errorf("got %v, want one of Bob's", got)
	}
	var want []string
	for _, e := range own {
		want = append(want, e.ID)
	}
	slices.Sort(want)
	if got := fetch(nostr.Filter{Kinds: []int{443}, Authors: []string{pub(alice)}}); !slices.Equal(got, want) {
		t.Errorf("got %v of one's own, want %v", got, want)
	}
}

// unending keeps what a test has started: go-nostr's pool races with itself when a connection ends.
type unending struct{ testing.TB }

func (unending) Cleanup(func()) {}

func TestAParcelIsForItsRecipient(t *testing.T) {
	t.Parallel()
	r, alice := start(t, nil), newKey()
	e := signed(newKey(), 443, "x")
	deliver := func(id string, expires time.Time) string {
		wait := r.gateway.Deliver(gateway.DirectEvent{ID: id, Recipient: pub(alice), Event: e, Expires: expires})
		return string(wait(t.Context()))
	}
	soon := time.Now().Add(time.Minute)
	if got := deliver("1", soon); got != "no_session" {
		t.Errorf("nobody is here: %s", got)
	}
	one, two, mallory := r.dial(t), r.dial(t), r.dial(t)
	for _, c := range []*client{one, two} {
		c.login(alice)
	}
	mallory.login(newKey())
	if got := deliver("1", soon); got != "no_subscription" || r.gateway.Awaits(pub(alice), e) {
		t.Errorf("nobody listens: %s", got)
	}
	mallory.send(req("m", `{"kinds":[443],"limit":0}`))
	mallory.expect(`["EOSE","m"]`)
	one.send(req("b", `{"kinds":[443],"limit":0}`), req("a", `{"limit":1}`))
	one.expect(`["EOSE","b"]`, `["EOSE","a"]`)
	two.send(req("c", `{"kinds":[443],"authors":[%q],"limit":0}`, pub(alice)))
	two.expect(`["EOSE","c"]`)
	if got := deliver("1", soon); got != "delivered" || !r.gateway.Awaits(pub(alice), e) {
		t.Errorf("one session listens: %s", got)
	}
	one.expect(delivery("a", e))
	if got := deliver("1", soon); got != "delivered" {
		t.Errorf("once more: %s", got)
	}
	if got := deliver("2", time.Now()); got == "delivered" {
		t.Errorf("too late: %s", got)
	}
	two.send(req("c", `{"kinds":[443],"limit":0}`))
	two.expect(`["EOSE","c"]`)
	if got := deliver("1", soon); got != "delivered" {
		t.Errorf("for the other session: %s", got)
	}
	two.expect(delivery("c", e))
	for _, c := range []*client{one, two, mallory} {
		c.send(`["REQ","end",{"kinds":[1]}]`)
		c.expect(`["EOSE","end"]`)
	}
	_, _ = one.conn.CloseNow(), two.conn.CloseNow()
	eventually(t, "the sessions' end", func() bool { return deliver(rand.Text(), soon) == "no_session" })
	if got := deliver("1", soon); got != "delivered" {
		t.Errorf("after they have gone: %s", got)
	}
}
