package claiming

import (
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// bySubscription claims one of Bob's packages for a REQ of that requester and returns the packages granted.
func (d *desk) bySubscription(t testing.TB, requester string, takesAddressable bool) []string {
	t.Helper()
	granted, _, err := d.first.ClaimForREQ(t.Context(), requester, bob, takesAddressable)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, claim := range granted.Answer.Claims {
		ids = append(ids, packages(claim)...)
	}
	return ids
}

// deliver ends all deliveries of a package as delivered.
func (d *desk) deliver(packageID string) {
	for id, delivery := range d.deliveries {
		if delivery.PackageID == packageID {
			delivery.Finish(delivery.PushNo, keypackage.ResultDelivered, d.clock)
			delivery.Version = d.tick()
			d.deliveries[id] = delivery
		}
	}
}

// Asking again within a minute brings the same and writes nothing; a minute later, or once the package is deleted, another.
func TestREQ(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	if got := d.bySubscription(t, alice, false); !slices.Equal(got, []string{"k1"}) {
		t.Fatalf("granted %v", got)
	}
	if len(d.claims) != 1 || len(d.published)+len(d.outcomes) > 0 {
		t.Errorf("recorded %v, published %v, noted %v: record and delivery are all", d.claims, d.published, d.outcomes)
	}
	d.clock = now.Add(59 * time.Second)
	d.deliver("k1")
	commits := d.commits
	if got := d.bySubscription(t, alice, false); !slices.Equal(got, []string{"k1"}) || d.commits != commits {
		t.Errorf("asked again: %v, %d commits", got, d.commits-commits)
	}
	if got := d.bySubscription(t, carol, false); !slices.Equal(got, []string{"k2"}) {
		t.Errorf("somebody else: %v", got)
	}
	d.clock = now.Add(61 * time.Second)
	if got := d.bySubscription(t, alice, false); !slices.Equal(got, []string{"k3"}) {
		t.Errorf("a minute later: %v", got)
	}
	d.tombstones["k3"] = true
	if got := d.bySubscription(t, alice, false); !slices.Equal(got, []string{"k4"}) {
		t.Errorf("after a deletion: %v", got)
	}
}

// What is over is not given again, though it is younger than a minute.
func TestREQAfterTheEndOfItsDelivery(t *testing.T) {
	t.Parallel()
	soonOver := candidate("k0", 0, func(c *keypackage.Candidate) { c.ExpiresAt = now.Add(31 * time.Second) })
	d := newDesk(t, append(fresh(3), soonOver)...)
	first := d.bySubscription(t, alice, false)
	d.clock = now.Add(31 * time.Second)
	if again := d.bySubscription(t, alice, false); !slices.Equal(first, []string{"k0"}) || !slices.Equal(again, []string{"k1"}) {
		t.Errorf("granted %v, then %v", first, again)
	}
}

// Whoever is not given anything leaves no trace: no claim, no count.
func TestREQForNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stock []*keypackage.Candidate
		takes bool
	}{
		"no package":               {nil, false},
		"a 30443 is the answer":    {append(fresh(3), candidate("a", 9, addressable)), true},
		"a kind that is not taken": {[]*keypackage.Candidate{candidate("a", 9, addressable)}, false},
	} {
		d := newDesk(t, tt.stock...)
		if got := d.bySubscription(t, alice, tt.takes); len(got) > 0 || len(d.claims)+len(d.pairs)+d.commits > 0 {
			t.Errorf("%s: granted %v, recorded %v, pairs %v", name, got, d.claims, d.pairs)
		}
	}
	d := newDesk(t, fresh(3)...)
	if got := d.bySubscription(t, bob, false); len(got) > 0 {
		t.Errorf("an owner is granted her own package %v", got)
	}
}

// A REQ is never granted an event of a kind that it does not take, be the addressable package the owner's reserve.
func TestREQTakesNoAddressable(t *testing.T) {
	t.Parallel()
	twin := []*keypackage.Candidate{candidate("a", 9, addressable, bytes("same")), candidate("k", 8, bytes("same"))}
	for name, tt := range map[string]struct {
		stock []*keypackage.Candidate
		want  []string
	}{
		"the other one": {append(fresh(1), candidate("a", 9, addressable)), []string{"k1"}},
		"the twin":      {twin, []string{"k"}},
	} {
		d := newDesk(t, tt.stock...)
		if got := d.bySubscription(t, alice, false); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// Over the pair's limit a REQ goes on with the reserve, and is not counted.
func TestREQOverThePairLimit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	pair := keypackage.Pair{Requester: alice, Owner: bob, Requests: keypackage.Window{}.Add(now, 10), Version: d.tick()}
	d.pairs[alice+"_"+bob] = pair
	for range 3 {
		if got := d.bySubscription(t, alice, false); !slices.Equal(got, []string{"k5"}) {
			t.Errorf("granted %v", got)
		}
		d.clock = d.clock.Add(time.Minute)
		d.deliver("k5")
	}
	if n := d.pairs[alice+"_"+bob].Requests.Count(now); n != 10 || len(d.stock) != 5 || d.owners[bob].HandedOut.Count(now) != 0 {
		t.Errorf("%d requests counted, %d packages left", n, len(d.stock))
	}
	claim := d.claimOfREQ(t, "k5")
	if !claim.Reserve || claim.Reason != keypackage.ReasonPairLimit || !claim.RetryAt.After(now) {
		t.Errorf("recorded %+v", claim)
	}
}

// claimOfREQ returns one of the claims that granted the package.
func (d *desk) claimOfREQ(t testing.TB, packageID string) keypackage.Claim {
	t.Helper()
	for _, claim := range d.claims {
		if slices.Contains(packages(claim), packageID) {
			return claim
		}
	}
	t.Fatalf("nobody was granted %s", packageID)
	return keypackage.Claim{}
}

// The first 447 after a REQ counts what that was given as its own, delivered or not; the second takes another.
func TestJoinAfterREQ(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		delivered bool
		meanwhile func(*desk)
		suite     string
		first     []string
	}{
		"delivered":           {true, func(*desk) {}, "", []string{"k1"}},
		"pending":             {false, func(*desk) {}, "", []string{"k1"}},
		"of that ciphersuite": {true, func(*desk) {}, "0x0001", []string{"k1"}},
		"of another":          {true, func(*desk) {}, "0x0002", []string{}},
		"a minute later":      {true, func(d *desk) { d.clock = now.Add(time.Minute) }, "", []string{"k2"}},
		"the package is gone": {true, func(d *desk) { d.tombstones["k1"] = true }, "", []string{"k2"}},
	} {
		d := newDesk(t, fresh(6)...)
		d.bySubscription(t, alice, false)
		if tt.delivered {
			d.deliver("k1")
		}
		tt.meanwhile(d)
		ask := func(id string) []string {
			u := ask(id, 1)
			if tt.suite == "0x0002" {
				u = ask447(id, 2)
			} else if tt.suite != "" {
				u = ask447(id, 1)
			} else {
				u.Request.Ask = keypackage.NewREQ("", alice, bob, false, 0, now).Ask
			}
			a, err := d.first.owners.answer(t.Context(), u)
			if err != nil {
				t.Fatal(err)
			}
			return packages(a.claim)
		}
		if got := ask("r1"); !slices.Equal(got, tt.first) {
			t.Errorf("%s: the first 447 is granted %v, want %v", name, got, tt.first)
		}
		if got := ask("r2"); tt.delivered && len(tt.first) > 0 && (len(got) != 1 || got[0] == "k1") {
			t.Errorf("%s: the second 447 is granted %v", name, got)
		}
	}
}

func ask447(id string, suite uint16) Unit {
	u := ask(id, 1)
	u.Request.AnySuite, u.Request.Suite, u.Request.Ask = false, mls.Ciphersuite(suite), "a suite"
	return u
}
