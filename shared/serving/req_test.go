package serving_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

// everybody lets n authenticated clients, spread over the instances, ask for the owner's KeyPackages at once, and returns what
// each was sent before its EOSE.
func everybody(owner actors.Key, n int, instances ...*instance) [][]string {
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = instances[i%len(instances)].login(actors.NewKey())
	}
	given := make([][]string, n)
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { given[i] = c.ask("a", owner) })
	}
	all.Wait()
	return given
}

// Fifty clients that ask at once are each given a KeyPackage of their own before EOSE, and the last one stays.
func TestFiftyAskAtOnce(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	stock := w.stocked(bob, 51)
	seen := map[string]int{}
	for i, ids := range everybody(bob, 50, gateway) {
		if len(ids) != 1 || !slices.Contains(stock, ids[0]) {
			t.Errorf("client %d was given %v", i, ids)
			continue
		}
		seen[ids[0]]++
	}
	if len(seen) != 50 {
		t.Errorf("%d different KeyPackages for 50 clients", len(seen))
	}
	if left := w.inStock(); len(left) != 1 {
		t.Errorf("%d are left", len(left))
	}
}

// Of ten nine are handed out once, and the last to all others.
func TestFiftyAskForTen(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	stock := w.stocked(bob, 10)
	seen := map[string]int{}
	for i, ids := range everybody(bob, 50, w.start(), w.start(), w.start()) {
		if len(ids) != 1 {
			t.Errorf("client %d was given %v", i, ids)
			continue
		}
		seen[ids[0]]++
	}
	left := w.inStock()
	if len(left) != 1 || len(seen) != 10 {
		t.Fatalf("given %v, left %v", seen, left)
	}
	for _, id := range stock {
		if want := map[bool]int{true: 41, false: 1}[id == left[0]]; seen[id] != want {
			t.Errorf("%s was given to %d, want %d", id, seen[id], want)
		}
	}
}

// Asking again at once brings the same, on the same connection, on another, and at another instance.
func TestAskingAgainBringsTheSame(t *testing.T) {
	w := newWorld(t)
	bob, alice := actors.NewKey(), actors.NewKey()
	w.stocked(bob, 5)
	here, there := w.start(), w.start()
	first, second, third := here.login(alice), here.login(alice), there.login(alice)
	want := first.ask("a", bob)
	if len(want) != 1 {
		t.Fatalf("given %v", want)
	}
	first.send(`["CLOSE","a"]`)
	for id, c := range map[string]*client{"b": first, "c": second, "d": third} {
		if got := c.ask(id, bob); !slices.Contains(got, want[0]) || len(slices.Compact(got)) != 1 {
			t.Errorf("%s was given %v, want %v", id, got, want)
		}
	}
	if left := w.inStock(); len(left) != 4 {
		t.Errorf("%d are left", len(left))
	}
}

// Two instances that are asked by the same requester at the same moment give the same.
func TestAskingAtTwoInstancesAtOnce(t *testing.T) {
	w := newWorld(t)
	bob, alice := actors.NewKey(), actors.NewKey()
	w.stocked(bob, 5)
	clients := []*client{w.start().login(alice), w.start().login(alice)}
	given := make([][]string, 2)
	var both sync.WaitGroup
	for i, c := range clients {
		both.Go(func() { given[i] = c.ask("a", bob) })
	}
	both.Wait()
	if len(given[0]) == 0 || len(given[1]) == 0 || given[0][0] != given[1][0] || len(w.inStock()) != 4 {
		t.Errorf("given %v, %d left", given, len(w.inStock()))
	}
}

// Who has an addressable KeyPackage is claimed nothing of, if the REQ takes that.
func TestAddressableIsTheAnswer(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	w.stocked(bob, 3)
	owner := gateway.login(bob)
	one := w.keyPackage(bob, time.Hour)
	slot := sign(t, bob, 30443, one.Content, append(one.Tags, nostr.Tag{"d", "phone"})...)
	owner.send(publish(slot))
	owner.accepted(slot.ID)
	alice := gateway.login(actors.NewKey())
	alice.send(`["REQ","a",{"kinds":[443,30443],"authors":["` + bob.Pubkey + `"]}]`)
	if ids := alice.untilEOSE("a"); len(ids) != 1 || ids[0] != slot.ID || len(w.deliveries()) != 0 {
		t.Errorf("given %v, %d deliveries", ids, len(w.deliveries()))
	}
}

// An owner without any, and nobody, end in EOSE.
func TestNothingToGive(t *testing.T) {
	w := newWorld(t)
	gateway := w.start()
	alice := gateway.login(actors.NewKey())
	alice.send(asks("a", actors.NewKey()))
	if ids := alice.untilEOSE("a"); len(ids) != 0 {
		t.Errorf("given %v", ids)
	}
	stranger := gateway.dial()
	stranger.send(asks("a", actors.NewKey()))
	if closed := stranger.await("CLOSED"); closed[1] != "a" {
		t.Errorf("got %v", closed)
	}
}

// What was claimed for a subscription that is closed by then waits for the next, and nothing more is claimed.
func TestTheNextREQBringsWhatTheLastOneMissed(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	w.stocked(bob, 5)
	alice := gateway.login(actors.NewKey())
	for range 5 {
		alice.send(asks("a", bob), `["CLOSE","a"]`)
	}
	alice.send(asks("b", bob))
	var got []string
	for eose := false; !eose || len(got) == 0; {
		switch parts := alice.next(); {
		case parts[0] == "EVENT":
			got = append(got, alice.verified(parts[2]).ID)
		case parts[0] == "EOSE" && parts[1] == "b":
			eose = true
		}
	}
	w.eventually("it is recorded", func() bool {
		d := w.deliveries()
		return len(d) == 1 && d[0]["state"] == "delivered" && d[0]["exposure_unknown"] == false
	})
	if left := w.inStock(); len(left) != 4 {
		t.Errorf("given %v, %d are left", got, len(left))
	}
}
