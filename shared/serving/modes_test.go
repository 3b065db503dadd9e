package serving_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// If the functions serve the requests, a 447 is only stored, a REQ claims nothing, and who listens is told to the functions.
func TestServedByFunctions(t *testing.T) {
	w := newWorld(t)
	w.Gateway.ServedBy = config.ServedByFunctions
	bob, gateway := actors.NewKey(), w.start()
	w.stocked(bob, 3)
	alice := gateway.login(actors.NewKey())
	alice.send(asks("a", bob))
	if ids := alice.untilEOSE("a"); len(ids) != 0 {
		t.Errorf("a REQ was given %v", ids)
	}
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
	alice.send(publish(request))
	alice.accepted(request.ID)
	alice.nothing()
	if !w.isMarked(request.ID) || len(w.deliveries()) != 0 || len(w.inStock()) != 3 {
		t.Errorf("claimed: %v", w.deliveries())
	}
}

// While the switch is thrown nothing is handed out, and what is published counts as exposed.
func TestSwitchedOff(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	w.stocked(bob, 3)
	w.Put(fixture.Documents{w.Collections.Claims + "/mode": map[string]any{"mode": "off"}})
	gateway := w.start()
	owner, alice := gateway.login(bob), gateway.login(actors.NewKey())
	alice.send(asks("a", bob))
	if ids := alice.untilEOSE("a"); len(ids) != 0 {
		t.Errorf("a REQ was given %v", ids)
	}
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
	alice.send(publish(request))
	alice.accepted(request.ID)
	one := w.keyPackage(bob, time.Hour)
	owner.send(publish(one))
	owner.accepted(one.ID)
	if len(w.deliveries()) != 0 || len(w.inStock()) != 4 || len(w.In(w.Collections.Ledger)) != 1 {
		t.Errorf("%d deliveries, %d in stock, %d in the ledger", len(w.deliveries()), len(w.inStock()), len(w.In(w.Collections.Ledger)))
	}
}

// The switch, thrown while sessions are open, takes hold of them, and of what they are still to be sent, until it is lifted.
func TestTheSwitchWithOpenSessions(t *testing.T) {
	for _, word := range []string{"off", "observe"} {
		t.Run(word, func(t *testing.T) {
			w := newWorld(t)
			bob, gateway := actors.NewKey(), w.start()
			w.stocked(bob, 5)
			alice, carol := gateway.login(actors.NewKey()), gateway.login(actors.NewKey())
			within := time.NewTicker(100 * time.Millisecond) // a session's allowance for requests lasts until the switch is seen
			defer within.Stop()
			until := func(given int) {
				t.Helper()
				w.eventually("what a REQ is given changes", func() bool {
					<-within.C
					return len(alice.ask("a", bob)) == given
				})
			}
			until(1)
			pending := carol.question(actors.Question{Owners: []string{bob.Pubkey}})
			carol.send(publish(pending))
			carol.accepted(pending.ID)
			w.eventually("the push has ended", func() bool {
				return slices.ContainsFunc(w.deliveries(), func(d map[string]any) bool { return d["last_result"] == "no_subscription" })
			})
			w.Put(fixture.Documents{w.Collections.Claims + "/mode": map[string]any{"mode": word}})
			until(0)
			keyPackages := `["REQ",%q,{"kinds":[443],"limit":0}]`
			carol.send(fmt.Sprintf(keyPackages, "a"))
			carol.await("EOSE")
			request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
			alice.send(publish(request))
			alice.accepted(request.ID)
			alice.nothing()
			carol.nothing()
			if len(w.deliveries()) != 2 || len(w.inStock()) != 3 {
				t.Errorf("%d deliveries, %d in stock", len(w.deliveries()), len(w.inStock()))
			}
			w.Delete(w.Collections.Claims + "/mode")
			until(1)
			carol.send(`["CLOSE","a"]`, fmt.Sprintf(keyPackages, "b"))
			for carol.next()[0] != "EVENT" { // before or behind the EOSE
			}
		})
	}
}

// An owner who listens is told the state of her stock, at once and when a claim here has changed it.
func TestLevels(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	w.stocked(bob, 5)
	ask := func() {
		alice := gateway.login(actors.NewKey())
		if ids := alice.ask("a", bob); len(ids) != 1 {
			t.Fatalf("given %v", ids)
		}
	}
	ask()
	ask()
	owner := gateway.login(bob)
	owner.send(`["REQ","levels",{"kinds":[20448]}]`)
	first := owner.level()
	if owner.await("EOSE"); first.Count != 3 || first.Level != "low" || first.Ciphersuite != "0x0001" || first.At == 0 {
		t.Errorf("told %+v", first)
	}
	ask()
	ask()
	if second := owner.level(); second.Count != 1 || second.Level != "last" {
		t.Errorf("told %+v", second)
	}
	owner.nothing()
	for i, want := range []row{{Count: 2, Level: "low"}, {Count: 3, Level: "low"}, {Count: 4, Level: "ok"}} { // she publishes
		one := w.keyPackage(bob, time.Duration(i)*time.Minute)
		owner.send(publish(one))
		owner.accepted(one.ID)
		if told := owner.level(); told.Count != want.Count || told.Level != want.Level {
			t.Errorf("told %+v, want %+v", told, want)
		}
	}
	again := gateway.login(bob)
	again.send(`["REQ","levels",{"kinds":[20448]}]`)
	if told := again.level(); told.Count != 4 || told.Level != "ok" {
		t.Errorf("told %+v", told)
	}
}

// An owner of whom nobody has asked anything yet is told what she has published.
func TestLevelsOfANewOwner(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	owner := gateway.login(bob)
	owner.send(`["REQ","levels",{"kinds":[20448]}]`)
	owner.await("EOSE")
	for n, level := range []string{"last", "low", "low", "ok"} {
		one := w.keyPackage(bob, time.Duration(n)*time.Minute)
		owner.send(publish(one))
		owner.accepted(one.ID)
		if told := owner.level(); told.Count != n+1 || told.Level != level || told.At != 0 {
			t.Errorf("told %+v", told)
		}
	}
	again := gateway.login(bob)
	again.send(`["REQ","levels",{"kinds":[20448]}]`)
	if told := again.level(); told.Count != 4 || told.Level != "ok" {
		t.Errorf("another session is told %+v", told)
	}
}

type row struct {
	Ciphersuite, Level string
	Count              int
	At                 int64
}

// level returns the one row of the notice that comes next.
func (c *client) level() row {
	c.t.Helper()
	e := c.verified(c.await("EVENT")[2])
	var content struct{ Rows []row }
	err := json.Unmarshal([]byte(e.Content), &content)
	if err != nil || e.Kind != keypackage.KindLevel || len(content.Rows) != 1 || e.Tags.Find("p")[1] != c.key.Pubkey {
		c.t.Fatalf("got %v", e)
	}
	return content.Rows[0]
}

// An owner sees her own stock and learns why a KeyPackage is refused.
func TestOwner(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	owner := gateway.login(bob)
	good := w.keyPackage(bob, time.Hour)
	bad := sign(t, bob, keypackage.KindKeyPackage, "no KeyPackage")
	owner.send(publish(good), publish(bad))
	owner.accepted(good.ID)
	if ok := owner.await("OK"); ok[1] != bad.ID || ok[2] != false {
		t.Errorf("got %v", ok)
	}
	owner.send(asks("own", bob))
	if ids := owner.untilEOSE("own"); len(ids) != 1 || ids[0] != good.ID {
		t.Errorf("sees %v", ids)
	}
	for range 2 { // the second is a duplicate
		owner.send(publish(good))
		owner.accepted(good.ID)
	}
	deletion := sign(t, bob, nostr.KindDeletion, "", nostr.Tag{"e", good.ID})
	owner.send(publish(deletion))
	owner.accepted(deletion.ID)
	if left := w.inStock(); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
