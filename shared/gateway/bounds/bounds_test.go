package bounds_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
)

// spend takes single frames until there are none left, and returns how many there were.
func spend(l bounds.Limits, kind bounds.Cost) int {
	n := 0
	for l.Allow(kind, 1) {
		n++
	}
	return n
}

func TestLimitsGrowBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bounds.OfSession()
		burst := spend(l, bounds.Publishing)
		if burst < 201 || burst > 1000 {
			t.Errorf("an owner can publish %d KeyPackages at once", burst)
		}
		if !l.Allow(bounds.Requesting, 32) || !l.Allow(bounds.Publishing, 0) {
			t.Error("kinds are limited together, or nothing costs something")
		}
		time.Sleep(10 * time.Second) // of the bubble's clock
		if again := spend(l, bounds.Publishing); again < 10 || again > burst/2 {
			t.Errorf("%d more after ten seconds", again)
		}
	})
}

// People who share an address share its limits, and coming back does not renew them.
func TestNeighboursShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a bounds.Addresses
		one, _ := a.Admit("2001:db8::1")
		two, _ := a.Admit("2001:db8::2")
		other, _ := a.Admit("2001:db8:0:1::1")
		spend(one.Limits, bounds.Requesting)
		if two.Allow(bounds.Requesting, 1) || !other.Allow(bounds.Requesting, 1) {
			t.Error("a network's limits are not its own")
		}
		a.Leave(one)
		a.Leave(two)
		time.Sleep(2 * time.Second)
		if again, _ := a.Admit("2001:db8::3"); spend(again.Limits, bounds.Requesting) > 200 {
			t.Error("coming back renews the limits")
		}
		ipv4, _ := a.Admit("10.0.0.1")
		spend(ipv4.Limits, bounds.LoggingIn)
		for address, same := range map[string]bool{"10.0.0.1": true, "10.0.0.2": false, "no address": false} {
			n, refused := a.Admit(address)
			if refused != "" || n.Allow(bounds.LoggingIn, 1) == same {
				t.Errorf("%s: %v", address, refused)
			}
		}
	})
}

func TestAnInstanceIsFull(t *testing.T) {
	t.Parallel()
	var a bounds.Addresses
	var first *bounds.Neighbour
	n := 0
	for ; ; n++ {
		admitted, refused := a.Admit(string(rune('a' + n/250)))
		if refused != "" {
			if refused != bounds.Full {
				t.Errorf("refused: %s", refused)
			}
			break
		}
		if first == nil {
			first = admitted
		}
	}
	if n < 1000 || n > 10_000 {
		t.Errorf("an instance holds %d sessions", n)
	}
	a.Leave(first)
	if _, refused := a.Admit("a"); refused != "" {
		t.Errorf("one has left: %s", refused)
	}
	a.Close()
	a.Leave(first)
	if _, refused := a.Admit("a"); refused != bounds.Over {
		t.Errorf("closed: %q", refused)
	}
}

func TestEveryBoundIsAnnounced(t *testing.T) {
	t.Parallel()
	announced, err := json.Marshal([]any{bounds.Limitation(), bounds.Others()})
	if err != nil || len(bounds.Limitation()) != 4 || len(bounds.Others()) != 14 {
		t.Errorf("%s, %v", announced, err)
	}
}
