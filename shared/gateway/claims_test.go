package gateway_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
)

var newKey = nostr.GeneratePrivateKey

// stocked puts KeyPackages of that owner into stock, and returns them.
func (r *relay) stocked(key string, kinds ...int) []gateway.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var put []gateway.Event
	for i, kind := range kinds {
		put = append(put, signed(key, kind, rand.Text(), nostr.Tag{"d", fmt.Sprint(i)}))
	}
	r.stock = append(r.stock, put...)
	return put
}

func TestAREQIsARequest(t *testing.T) {
	t.Parallel()
	r, bob := start(t, nil), newKey()
	stock := r.stocked(bob, 443, 443)
	alice := r.dial(t)
	alice.login(newKey())
	alice.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(bob)), req("b", `{"kinds":[443],"authors":[%q],"limit":1}`, pub(bob)))
	// One claim is not ordered after the other, but each EOSE comes behind its package, and both packages come.
	var seen []string
	for range 4 {
		seen = append(seen, alice.next())
	}
	for _, p := range stock {
		if !slices.ContainsFunc(seen, func(frame string) bool { return strings.HasSuffix(frame, ","+p.Raw+"]") }) {
			t.Errorf("a package is missing in %v", seen)
		}
	}
	if !strings.HasPrefix(seen[3], `["EOSE"`) || !strings.HasPrefix(seen[0], `["EVENT"`) {
		t.Errorf("an EOSE came before what it ends: %v", seen)
	}
}

func TestWhatIsARequest(t *testing.T) {
	t.Parallel()
	r, bob, carol, me := start(t, nil), pub(newKey()), pub(newKey()), newKey()
	c := r.dial(t)
	c.login(me)
	all := make([]string, 33)
	for i := range all {
		all[i] = fmt.Sprintf("%064x", i+1)
	}
	list := func(owners []string) string { return `["` + strings.Join(owners, `","`) + `"]` }
	for filters, want := range map[string][]string{
		fmt.Sprintf(`{"kinds":[443],"authors":[%q]}`, bob):                                                 {bob},
		fmt.Sprintf(`{"authors":[%q,%q,%q],"kinds":[443,1],"limit":9}`, bob, carol, bob):                   {bob, carol},
		fmt.Sprintf(`{"kinds":[443],"authors":[%q]},{"kinds":[443],"authors":[%q]}`, bob, carol):           {bob, carol},
		fmt.Sprintf(`{"kinds":[443],"authors":[%q]},{"kinds":[443],"authors":[%q],"since":1}`, bob, carol): {bob},
		fmt.Sprintf(`{"kinds":[443],"authors":[%q,%q]}`, pub(me), bob):                                     {bob},
		fmt.Sprintf(`{"kinds":[443],"authors":%s}`, list(all[:32])):                                        all[:32],
		fmt.Sprintf(`{"kinds":[443],"authors":[%q]}`, pub(me)):                                             nil,
		fmt.Sprintf(`{"kinds":[443],"authors":[%q],"limit":0}`, bob):                                       nil,
		fmt.Sprintf(`{"kinds":[443],"authors":[%q],"#p":["x"]}`, bob):                                      nil,
		fmt.Sprintf(`{"authors":[%q]}`, bob):                                                               nil,
		fmt.Sprintf(`{"kinds":[1,447],"authors":[%q]}`, bob):                                               nil,
		`{"kinds":[443]}`: nil, `{"kinds":[443],"authors":[]}`: nil, fmt.Sprintf(`{"kinds":[30443],"authors":[%q]}`, bob): nil,
	} {
		look(r.store, func(s *store) any { s.claims = nil; return nil })
		c.send(`["REQ","a",` + filters + `]`)
		c.expect(`["EOSE","a"]`)
		claims := look(r.store, func(s *store) []gateway.Claim { return slices.Clone(s.claims) })
		if len(want) == 0 && len(claims) == 0 {
			continue
		}
		if len(claims) != 1 || !slices.Equal(claims[0].Owners, want) || claims[0].Requester != pub(me) || claims[0].Addressable {
			t.Errorf("%s: claims %v, want %v", filters, claims, want)
		}
	}
	c.send(fmt.Sprintf(`["REQ","a",{"kinds":[443],"authors":%s},{"kinds":[443],"authors":%s}]`, list(all[:20]), list(all[13:])))
	c.closed("a", "invalid:")
	c.send(req("a", `{"kinds":[443],"authors":["abc"]}`))
	c.closed("a", "invalid:")
}

func TestARequestThatAlsoTakesAddressableOnes(t *testing.T) {
	t.Parallel()
	r, bob, carol, me := start(t, nil), pub(newKey()), pub(newKey()), newKey()
	c := r.dial(t)
	c.login(me)
	c.send(fmt.Sprintf(`["REQ","a",{"kinds":[443],"authors":[%q,%q]},{"kinds":[30443,443],"authors":[%q]}]`, bob, carol, carol))
	c.expect(`["EOSE","a"]`)
	claims := look(r.store, func(s *store) []gateway.Claim { return s.claims })
	if len(claims) != 2 || claims[0].Addressable || !slices.Equal(claims[0].Owners, []string{bob}) ||
		!claims[1].Addressable || !slices.Equal(claims[1].Owners, []string{carol}) {
		t.Errorf("got %v", claims)
	}
}

func TestSeveralKeysAskWithA447(t *testing.T) {
	t.Parallel()
	r, a, b, bob := start(t, nil), newKey(), newKey(), pub(newKey())
	c := r.dial(t)
	c.login(a)
	c.login(b)
	c.send(req("r", `{"kinds":[443],"authors":[%q]}`, bob))
	c.closed("r", "restricted:")
	c.send(req("r", `{"kinds":[443],"authors":[%q,%q]}`, pub(a), pub(b)))
	c.expect(`["EOSE","r"]`)
	c.send(req("r", `{"kinds":[443],"authors":[%q],"limit":0}`, bob)) // listens
	c.expect(`["EOSE","r"]`)
}

func TestBothKeysAreServed(t *testing.T) {
	t.Parallel()
	r, a, b, bob := start(t, nil), newKey(), newKey(), newKey()
	mine, other := r.stocked(a, 443)[0], r.stocked(b, 443)[0]
	stock := r.stocked(bob, 443, 443)
	c := r.dial(t)
	c.login(a)
	c.send(req("own", `{"kinds":[443],"authors":[%q,%q]}`, pub(a), pub(a)))
	c.expect(delivery("own", mine), `["EOSE","own"]`)
	c.login(b)
	c.send(req("own", `{"kinds":[443],"authors":[%q,%q]}`, pub(a), pub(b)))
	c.expect(delivery("own", mine), delivery("own", other), `["EOSE","own"]`)
	c.send(`["CLOSE","own"]`, req("l", `{"kinds":[443],"limit":0}`))
	c.expect(`["EOSE","l"]`)
	for i, key := range []string{a, b} {
		request := signed(key, 447, "", nostr.Tag{"p", pub(bob)})
		c.send(publish(request))
		c.accepted(request.ID)
		c.expect(delivery("l", stock[i]))
	}
	protected := signed(b, 443, "x", nostr.Tag{"-"})
	c.send(publish(protected))
	frames := []string{c.next(), c.next()}
	if !slices.Contains(frames, fmt.Sprintf(`["OK",%q,true,""]`, protected.ID)) || !slices.Contains(frames, delivery("l", protected)) {
		t.Errorf("got %v", frames)
	}
}

// What a client sent before is dealt with before: the package comes on the subscription that is open.
func TestPipelined(t *testing.T) {
	t.Parallel()
	r, bob := start(t, nil), newKey()
	for range 30 {
		stock := r.stocked(bob, 443)
		alice, key := r.dial(t), newKey()
		login, request := alice.auth(key), signed(key, 447, "", nostr.Tag{"p", pub(bob)})
		alice.send(`["AUTH",`+login.Raw+`]`, req("a", `{"kinds":[443],"limit":0}`), `["CLOSE","a"]`, req("b", `{"kinds":[443],"limit":0}`), publish(request))
		alice.accepted(login.ID)
		alice.expect(`["EOSE","a"]`, `["EOSE","b"]`)
		alice.accepted(request.ID)
		alice.expect(delivery("b", stock[0]))
	}
}

func TestNothingIsWrittenOnAClosedSubscription(t *testing.T) {
	t.Parallel()
	r, bob, key := start(t, nil), newKey(), newKey()
	r.stocked(bob, 443)
	alice := r.dial(t)
	alice.login(key)
	request := signed(key, 447, "", nostr.Tag{"p", pub(bob)})
	alice.send(req("a", `{"kinds":[443],"limit":0}`), `["CLOSE","a"]`, publish(request))
	alice.expect(`["EOSE","a"]`)
	alice.accepted(request.ID)
	eventually(t, "the delivery's end", func() bool { return look(r.store, func(s *store) int { return len(s.statuses) }) == 1 })
	if got := look(r.store, func(s *store) outbox.Status { return s.statuses[0] }); got != outbox.NoSubscription || len(r.find(443, pub(bob))) != 1 {
		t.Errorf("got %s, in stock are %d", got, len(r.find(443, pub(bob))))
	}
}

func TestEOSEWaitsForTheClaimAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	r, bob := start(t, nil), newKey()
	stock := r.stocked(bob, 443)
	r.hold = make(chan struct{})
	alice := r.dial(t)
	alice.login(newKey())
	note := signed(newKey(), 1, "note")
	alice.send(req("a", `{"kinds":[443,1],"authors":[%q]}`, pub(bob)), publish(note)) // upstream's EOSE comes meanwhile
	alice.accepted(note.ID)
	alice.send(req("n", `{"ids":[%q]}`, note.ID))
	if got := alice.await("EVENT"); got[1] != "n" {
		t.Errorf("got %v", got)
	}
	alice.expect(`["EOSE","n"]`)
	close(r.hold)
	alice.expect(delivery("a", stock[0]), `["EOSE","a"]`)
}

func TestEOSEDoesNotWaitForLong(t *testing.T) {
	t.Parallel()
	r, bob := start(t, nil), newKey()
	stock := r.stocked(bob, 443)
	r.hold = make(chan struct{})
	alice := r.dial(t)
	alice.login(newKey())
	alice.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(bob)))
	alice.expect(`["EOSE","a"]`)
	close(r.hold)
	alice.expect(delivery("a", stock[0]))
}

func TestAClaimThatFailsEndsInEOSE(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	alice := r.dial(t)
	alice.login(newKey())
	look(r.store, func(s *store) any { s.err = errDown; return nil })
	alice.send(req("a", `{"kinds":[443],"authors":[%q]}`, pub(newKey())))
	alice.expect(`["EOSE","a"]`)
}

func TestAuthRequired(t *testing.T) {
	t.Parallel()
	r, bob := start(t, nil), newKey()
	c := r.dial(t)
	for _, filters := range []string{
		`{"kinds":[443]}`, `{"kinds":[20447]}`, `{"kinds":[20448,447],"limit":0}`, `{"kinds":[443],"authors":["` + pub(bob) + `"]}`,
		`{"kinds":[443]},{"kinds":[20447]}`, `{"kinds":[443,30443],"authors":["` + pub(bob) + `"]}`, `{"kinds":[30443]},{"kinds":[443]}`,
	} {
		c.send(`["REQ","a",` + filters + `]`)
		c.closed("a", "auth-required:")
	}
	for _, filters := range []string{
		`{"kinds":[443,1]}`, `{}`, `{"ids":["x"]}`, `{"kinds":[30443]}`, `{"kinds":[447]}`, `{"kinds":[443]},{"kinds":[1]}`,
	} {
		c.send(`["REQ","a",` + filters + `]`)
		c.expect(`["EOSE","a"]`)
	}
	request := signed(newKey(), 447, "", nostr.Tag{"p", pub(bob)})
	c.send(publish(request))
	c.refused(request.ID, "auth-required:")
	c.login(newKey())
	c.send(publish(request))
	c.refused(request.ID, "auth-required:")
	if n := look(r.store, func(s *store) int { return s.calls }); n != 0 {
		t.Errorf("strangers cost %d calls", n)
	}
}

// 30443 is public: who gets one need not say who he is.
func TestAddressableOnesAreForEverybody(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*relay{"before a relay": start(t, nil), "alone": alone(t)} {
		bob, c := newKey(), r.dial(t)
		e := signed(bob, 30443, "x", nostr.Tag{"d", "slot"})
		c.send(publish(e))
		c.accepted(e.ID)
		c.send(req("a", `{"kinds":[443,30443],"authors":[%q]}`, pub(bob)))
		c.expect(delivery("a", e), `["EOSE","a"]`)
		c.send(req("b", `{"kinds":[443,30443],"authors":[%q]}`, pub(newKey())))
		c.closed("b", "auth-required:")
		c.login(newKey())
		c.send(req("b", `{"kinds":[443,30443],"authors":[%q]}`, pub(bob)))
		c.expect(delivery("b", e), `["EOSE","b"]`)
		t.Log(name)
	}
}
