package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"
)

// A client may ask for what its request was granted, by the request's id, before and after.
func TestWhatARequestWasGranted(t *testing.T) {
	t.Parallel()
	r, alice, bob := start(t, nil), newKey(), newKey()
	stock := r.stocked(bob, 443)
	request := signed(alice, 447, "", nostr.Tag{"p", pub(bob)})
	c, other := r.dial(t), r.dial(t)
	c.login(alice)
	other.login(newKey())
	c.send(req("before", `{"kinds":[443],"#e":[%q]}`, request.ID))
	c.expect(`["EOSE","before"]`)
	c.send(publish(request))
	c.accepted(request.ID)
	c.expect(delivery("before", stock[0]))
	eventually(t, "it is recorded", func() bool { return look(r.store, func(s *store) int { return len(s.granted) }) == 1 })
	c.send(req("after", `{"kinds":[443],"#e":["x",%q]}`, request.ID))
	c.expect(delivery("after", stock[0]), `["EOSE","after"]`)
	c.send(req("another", `{"kinds":[443],"#e":["x"]}`))
	c.expect(`["EOSE","another"]`)
	other.send(req("theirs", `{"kinds":[443],"#e":[%q]}`, request.ID))
	other.expect(`["EOSE","theirs"]`)
	other.send(req("many", `{"kinds":[443],"#e":["x"%s]}`, strings.Repeat(`,"x"`, 32)))
	other.closed("many", "invalid:")
}

func TestLevelsAreToldToTheOwner(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	level := signed(newKey(), 20448, `{"rows":[]}`, nostr.Tag{"p", pub(key)})
	r.level = &level
	c := r.dial(t)
	c.login(key)
	c.send(req("l", `{"kinds":[20448],"#p":[%q]}`, pub(key)))
	c.expect(delivery("l", level), `["EOSE","l"]`)
	c.send(req("m", `{"kinds":[20448],"#p":["other"]}`))
	c.expect(`["EOSE","m"]`)
}

func TestPendingDeliveriesAreLookedForWhenTheyCouldArrive(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	c := r.dial(t)
	c.login(key)
	c.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(key)), req("b", `{"kinds":[1]}`), req("c", `{}`))
	c.expect(`["EOSE","a"]`)
	if n := look(r.store, func(s *store) int { return len(s.attended) }); n != 0 {
		t.Errorf("%d looks for what could not arrive", n)
	}
	d := r.dial(t)
	d.login(key)
	for i := range 20 {
		d.send(req(fmt.Sprint(i), `{"kinds":[443],"limit":0}`))
	}
	attended := func() int { return look(r.store, func(s *store) int { return len(s.attended) }) }
	eventually(t, "a first look and one behind all", func() bool { return attended() == 2 })
}
