package gateway_test

import (
	"fmt"
	"testing"
)

// An owner's stored 443s are served to her whatever the filter, and to nobody else.
func TestOnesOwnAreServedWhateverTheFilter(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*relay{"before a relay": start(t, nil), "alone": alone(t)} {
		key := newKey()
		mine, bobs := r.stocked(key, 443)[0], r.stocked(newKey(), 443)[0]
		stranger, other, c := r.dial(t), r.dial(t), r.dial(t)
		other.login(newKey())
		c.login(key)
		for _, filter := range []string{
			fmt.Sprintf(`{"ids":[%q,%q]}`, mine.ID, bobs.ID), fmt.Sprintf(`{"authors":[%q]}`, mine.PubKey), `{}`, `{"limit":1}`,
			fmt.Sprintf(`{"kinds":[443],"ids":[%q]}`, mine.ID),
		} {
			c.send(`["REQ","a",` + filter + `]`)
			c.expect(delivery("a", mine), `["EOSE","a"]`)
		}
		for _, filter := range []string{
			fmt.Sprintf(`{"ids":[%q]}`, mine.ID), fmt.Sprintf(`{"authors":[%q]}`, mine.PubKey), `{}`, `{"limit":1}`,
		} {
			for _, nobody := range []*client{stranger, other} {
				nobody.send(`["REQ","a",` + filter + `]`)
				nobody.expect(`["EOSE","a"]`)
			}
		}
		t.Log(name)
	}
}

// Clients look for other events by id all the time: of that a session's first costs a read, and none of the others, until she
// publishes.
func TestLookingForOtherEventsCostsNothing(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	c := r.dial(t)
	c.login(key)
	for i := range 200 {
		c.send(req("a", `{"ids":["%064x"]}`, i))
		c.expect(`["EOSE","a"]`)
		for _, filter := range []string{`{"#p":["` + pub(key) + `"]}`, `{"limit":0}`, `{"authors":["` + pub(newKey()) + `"]}`} {
			c.send(`["REQ","a",` + filter + `]`)
			c.expect(`["EOSE","a"]`)
		}
	}
	if n := look(r.store, func(s *store) int { return s.calls }); n != 1 {
		t.Errorf("they cost %d calls", n)
	}
	e := signed(key, 443, "x")
	c.send(publish(e), `["CLOSE","a"]`, req("b", `{"ids":[%q]}`, e.ID))
	c.accepted(e.ID)
	c.expect(delivery("b", e), `["EOSE","b"]`)
}

// What she publishes while her stock is being read is found by its id as well.
func TestWhatIsPublishedWhileTheStockIsReadIsFound(t *testing.T) {
	t.Parallel()
	r, key, read := start(t, nil), newKey(), make(chan struct{})
	r.slow = read
	c := r.dial(t)
	c.login(key)
	c.send(req("a", `{"ids":["%064x"]}`, 1))
	<-read
	e := signed(key, 443, "x")
	c.send(publish(e))
	c.accepted(e.ID)
	read <- struct{}{}
	c.expect(`["EOSE","a"]`)
	c.send(req("b", `{"ids":[%q]}`, e.ID))
	c.expect(delivery("b", e), `["EOSE","b"]`)
}

// What does not name our kinds is not refused because ours cannot be afforded: ours are left out, and that is said.
func TestWhatDoesNotNameOursIsNotRefused(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	r.stocked(key, 443)
	c := r.dial(t)
	c.login(key)
	for i := range 150 { // a session's allowance is 100
		c.send(req(fmt.Sprint(i), `{"authors":[%q]}`, pub(key)))
	}
	left, ended := 0, 0
	for ended < 150 {
		switch frame := c.any(); frame[0] {
		case "NOTICE":
			left++
		case "EOSE":
			ended++
		case "CLOSED":
			t.Fatalf("got %v", frame)
		}
	}
	if left == 0 {
		t.Error("nothing was said")
	}
}
