package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
)

// Whatever is not ours passes in both directions byte for byte and in its order.
func TestTenThousandFrames(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	c.send(`["REQ","a",{"kinds":[1]}]`)
	u.expect(`["REQ","a",{"kinds":[1]}]`)
	up, down := recorded(10_000)
	var all sync.WaitGroup
	all.Go(func() { c.send(up...) })
	all.Go(func() { u.send(down...) })
	all.Go(func() {
		for i, want := range up {
			if got := u.next(); got != want {
				t.Errorf("frame %d up: got %s, want %s", i, got, want)
				return
			}
		}
	})
	for i, want := range down {
		if got := c.exactly(); got != want {
			t.Fatalf("frame %d down: got %s, want %s", i, got, want)
		}
	}
	all.Wait()
}

// recorded returns frames as clients and relays have written them, with white space, escapes and fields of their own.
func recorded(n int) (up, down []string) {
	ups := []string{
		` [ "EVENT" , {"kind": 1,"id":"%d","content":"\u00e9\/\ud83d\ude00 <&>","tags":[["e","x",null]],"x":1.50} ]`, `["EVENT",{"kind":7,"id":"%d","content":"\ud83d"}]`,
		`["REQ","s%d",{"kinds":[1,7],"#e":["x"],"limit":5,"unknown":{"a":1e400}}, {"ids":["y"]}]`, `["CLOSE","s%d"]`, `["NEG-MSG","n%d","61"]`,
		`["COUNT","c%d",{"kinds":[3]}]`, `["NEG-OPEN","n%d",{"kinds":[1]},"61"]`, `["NEG-CLOSE","n%d"]`, `["FOO",%d,not even JSON`, "[\"EVENT\",{\"kind\":1,\"id\":\"%d\",\"content\":\"\xff\"}]",
	}
	downs := []string{
		` ["EVENT", "a",{"kind":1,"id":"%d","content":"\u00e9\/\ud83d\ude00 <&>", "x" : 1.50}] `, `["EVENT","a",{"content":"","kind":30023,"n":%d}]`, `["OK","%d",true,""]`,
		`["NOTICE","%d \u0000"]`, `["COUNT","c",{"count":%d}]`, `["NEG-MSG","n","%d"]`, `["NEG-ERR","n%d","closed"]`, `["BAR",%d]`,
	}
	for i := range n {
		up, down = append(up, fmt.Sprintf(ups[i%len(ups)], i/len(ups))), append(down, fmt.Sprintf(downs[i%len(downs)], i))
	}
	return up, down
}

func TestFiltersLoseOurKindsOnTheWayUp(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	c.login(newKey())
	c.send(
		`["REQ","a",{"kinds":[443,1,447], "x" : 1},{"kinds":[443],"limit":0},{"ids":["z"]}]`,
		`["REQ","b",{"kinds":[443],"limit":0}]`,   // nothing left, and nothing to replace
		`["REQ","a",{"kinds":[447,20447,20448]}]`, // nothing left: the one that it replaces is closed
		`["CLOSE","b"]`, // upstream does not know it
		`["CLOSE","never"]`,
		`["REQ","c",{"kinds":[1,7]},{}]`,
	)
	u.expect(`["REQ","a",{"kinds":[1], "x" : 1},{"ids":["z"]}]`, `["CLOSE","a"]`, `["CLOSE","never"]`, `["REQ","c",{"kinds":[1,7]},{}]`)
}

func TestWhatWouldTellOfOursIsRefused(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	c.login(newKey())
	for _, filter := range []string{`{"kinds":[1,443]}`, `{"kinds":[447]}`, `{"kinds":[20447]}`, `{}`, `{"ids":["x"]}`, `{"authors":["x"]}`} {
		c.send(`["COUNT","q",{"kinds":[1]},` + filter + `]`)
		c.closed("q", "restricted:")
		c.send(`["NEG-OPEN","q",` + filter + `,"61"]`)
		if got := c.await("NEG-ERR"); got[1] != "q" || !strings.HasPrefix(got[2].(string), "blocked:") {
			t.Errorf("%s: %v", filter, got)
		}
	}
	c.send(`["COUNT","q",{"kinds":[30443,1]}]`, `["NEG-OPEN","n",{"kinds":[1],"ids":["x"]},16,"61"]`)
	u.expect(`["COUNT","q",{"kinds":[30443,1]}]`, `["NEG-OPEN","n",{"kinds":[1],"ids":["x"]},16,"61"]`)
}

// Upstream sends what nobody should see, in every spelling.
func TestUpstreamIsNotBelieved(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	me := newKey()
	c.login(me)
	c.send(`["REQ","a",{}]`, `["REQ","k",{"kinds":[443],"limit":0}]`)
	u.expect(`["REQ","a",{}]`)
	c.expect(`["EOSE","k"]`)
	own := signed(me, 443, "old copy")
	u.send(
		delivery("a", own), delivery("k", own), `["EVENT","a",{"kind":447}]`, `["EVENT","a",{"kind":20447}]`, `["EVENT","a",{"kind":20448}]`,
		`["EVENT","a",{"kind":1,"kind":443}]`, `["EVENT","a",{"kind":443,"kind":1}]`, `["EVENT","a",{"kind":1,"KIND":443}]`, `["EVENT","a",{"kind":443.0}]`,
		`["EVENT","a",{"kind":"443"}]`, `["EVENT","a",{"\u006bind":443}]`, `["EVENT","a",{"kind":null}]`, `["EVENT","a",{}]`, `["EVENT","a",[443]]`,
		`["EVENT","a",{"kind":1},{"kind":443}]`, `["EVENT",{"kind":443}]`, `["EVENT","a",{"kind":1,"content":"\ud800"}]`, "[\"EVENT\",\"a\",{\"kind\":1,\"x\":\"\xff\"}]",
		`["event","a",{"kind":443}]`, `["\u0045VENT","a",{"kind":443}]`, `["Event","a",{"kind":443}]`, `["EVENT","a",{"kind":443}]x`, `["EVENT","a",{"kind":443}`,
		`["EVENT","k",{"kind":1}]`, `["EVENT","never",{"kind":1}]`, `["EOSE","k"]`, `["CLOSED","k","x"]`, `["EOSE","never"]`,
		`["AUTH","theirs"]`, `rubbish`, `{}`, `[]`, ``, `[1]`, "\xff\xfe", `["EVENT"]`, `["EOSE"]`, `["OK"]`, `["CLOSED",1]`, `["AUTH"]`, `["OK",{}]`,
		`["EVENT","a",{"kind":1}]`,
	)
	c.expect(`["EVENT","a",{"kind":1}]`)
	if err := u.conn.Write(t.Context(), websocket.MessageBinary, []byte(`["EVENT","a",{"kind":443}]`)); err != nil {
		t.Fatal(err)
	}
	u.send(`["EOSE","a"]`)
	c.expect(`["EOSE","a"]`)
}

func TestUpstreamNeverGetsAnAUTHThatIsNotForIt(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	u.send(`["AUTH","` + c.challenge + `"]`)
	c.login(newKey())
	c.send(`["REQ","a",{"kinds":[1]}]`)
	u.expect(`["REQ","a",{"kinds":[1]}]`)
}

func TestOneSignatureForBoth(t *testing.T) {
	t.Parallel()
	u := newScripted()
	r := startBefore(t, u, func(c *gateway.Config) { c.SharesLogin = true })
	up := make(chan *upstreamConn)
	go func() {
		conn := u.accept(t)
		conn.send(`["AUTH","theirs"]`, `["AUTH","a later one"]`)
		up <- conn
	}()
	c := r.dial(t)
	if c.challenge != "theirs" {
		t.Fatalf("the challenge is %q, not upstream's", c.challenge)
	}
	wrong, e := c.auth(newKey(), nostr.Tag{"relay", "wss://elsewhere"}, nostr.Tag{"challenge", "theirs"}), c.auth(newKey())
	c.send(`["AUTH",`+wrong.Raw+`]`, `["AUTH", `+e.Raw+`]`)
	c.refused(wrong.ID, "invalid:")
	c.accepted(e.ID)
	conn := <-up
	conn.expect(`["AUTH", ` + e.Raw + `]`)
	conn.send(fmt.Sprintf(`["OK",%q,false,"theirs is not ours"]`, e.ID), `["NOTICE","last"]`)
	c.expect(`["NOTICE","last"]`)
	if host := conn.header.Get("X-Forwarded-Host"); "ws://"+host != r.url || conn.header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("upstream was told %v", conn.header)
	}
}

func TestAnUpstreamWithoutAChallengeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, func(c *gateway.Config) { c.SharesLogin = true })
	u.send(`["AUTH","too late"]`)
	c.login(newKey())
	c.send(`["CLOSE","x"]`)
	u.expect(`["CLOSE","x"]`)
}

func TestAnUpstreamThatEndsEndsTheSession(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	u.send(`["NOTICE","last words"]`)
	_ = u.conn.CloseNow()
	c.expect(`["NOTICE","last words"]`)
	if code := c.ended(); code != websocket.StatusGoingAway {
		t.Errorf("ended with %d", code)
	}
}

func TestAnUpstreamThatSendsTooMuchEndsTheSession(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	go u.conn.Write(context.Background(), websocket.MessageText, []byte(`["NOTICE","`+strings.Repeat("x", 10<<20)+`"]`)) //nolint:errcheck // it is cut off
	if code := c.ended(); code != websocket.StatusGoingAway {
		t.Errorf("ended with %d", code)
	}
}

func TestAnUpstreamThatCannotBeReached(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"hangs":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, bob := startBefore(t, handler, nil), newKey()
			stock := r.stocked(bob, 443)
			c := r.dial(t)
			c.login(newKey())
			c.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(bob)))
			c.expect(delivery("a", stock[0]), `["EOSE","a"]`)
			note, package30443 := signed(newKey(), 1, "x"), signed(bob, 30443, "x")
			c.send(publish(note), `["REQ","n",{"kinds":[1]}]`, publish(package30443), `["NEG-MSG","x"]`)
			c.refused(note.ID, "error:")
			c.closed("n", "error:")
			c.accepted(package30443.ID)
			c.await("NOTICE")
			r.stocked(bob, 443)
			c.send(req("m", `{"kinds":[443,1],"authors":[%q]}`, pub(bob)))
			c.await("NOTICE")
			c.await("EVENT")
			c.expect(`["EOSE","m"]`)
			if strings.Contains(r.log.String(), "127.0.0.1") {
				t.Errorf("the log names upstream's URL: %s", r.log)
			}
		})
	}
}

// Operators are told of an upstream that cannot be reached, not of clients that come and go: anybody could raise that alert.
func TestAClientThatLeavesIsNoFaultOfUpstream(t *testing.T) {
	t.Parallel()
	asked, left := make(chan struct{}), make(chan struct{})
	r := startBefore(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(left)
	}), nil)
	c := r.dial(t)
	<-asked
	_ = c.conn.CloseNow()
	<-left
	time.Sleep(50 * time.Millisecond) // in which it would be counted
	if tally := r.gateway.Tally(); tally["upstream_dialled"] != 0 || tally["upstream_failed"] != 0 || r.log.String() != "" {
		t.Errorf("counted %v, and said %s", tally, r.log)
	}
}

func TestAClosedSubscriptionStaysClosed(t *testing.T) {
	t.Parallel()
	r, c, u := between(t, nil)
	bob := newKey()
	stock := r.stocked(bob, 443)
	c.login(newKey())
	r.hold = make(chan struct{})
	c.send(req("a", `{"kinds":[443,1],"authors":[%q]}`, pub(bob)))
	u.next()
	u.send(`["CLOSED","a","auth-required: who are you"]`, `["NOTICE","x"]`)
	c.expect(`["NOTICE","x"]`)
	close(r.hold)
	c.expect(delivery("a", stock[0]), `["CLOSED","a","auth-required: who are you"]`)
	c.send(`["CLOSE","a"]`)
	u.expect(`["CLOSE","a"]`)
	u.send(`["EVENT","a",{"kind":1}]`, `["NOTICE","y"]`)
	c.expect(`["NOTICE","y"]`)
}

// A COUNT that upstream refuses is answered.
func TestACOUNTThatUpstreamRefuses(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	c.send(`["COUNT","c",{"kinds":[1]}]`)
	u.expect(`["COUNT","c",{"kinds":[1]}]`)
	u.send(`["CLOSED","c","error: not today"]`)
	c.expect(`["CLOSED","c","error: not today"]`)
}

// What is kept of filters is bounded: what names our kinds is refused beyond that, the rest passes.
func TestLargeFilters(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	c.login(newKey())
	large := `"authors":["` + strings.Repeat(strings.Repeat("0", 64)+`","`, 3000) + `"]`
	c.send(`["REQ","a",{"kinds":[443],"limit":0,`+large+`}]`, `["REQ","b",{"kinds":[443],"limit":0,`+large+`}]`)
	c.expect(`["EOSE","a"]`)
	c.closed("b", "rate-limited:")
	c.send(`["REQ","c",{`+large+`}]`, `["REQ","a",{"kinds":[443],"limit":0,`+large+`}]`)
	c.expect(`["EOSE","a"]`) // replaces its own
	u.expect(`["REQ","c",{` + large + `}]`)
}

// In the modes in which nothing is handed out, the gateway is as if it were not there, but what is published is kept.
func TestOffPassesEverything(t *testing.T) {
	t.Parallel()
	r, c, u := between(t, nil)
	r.off.Store(true)
	key := newKey()
	c.login(key)
	e, request := signed(key, 443, "x"), signed(key, 447, "", nostr.Tag{"p", pub(newKey())})
	frames := []string{
		publish(e), publish(request), `["REQ","a",{"kinds":[443,447]}]`, `["COUNT","c",{"kinds":[443]}]`, `["NEG-OPEN","n",{},"61"]`,
	}
	c.send(frames...)
	u.expect(frames...)
	answers := []string{fmt.Sprintf(`["OK",%q,true,"theirs"]`, e.ID), delivery("a", e), delivery("a", request), `["EOSE","a"]`}
	u.send(answers...)
	c.expect(answers...)
	if look(r.store, func(s *store) bool { return len(s.taken) != 1 || !s.shared[e.ID] }) {
		t.Error("what was published is not kept, or not as shared")
	}
}
