package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// There is one OK for each event: the gateway's, or, if upstream gets the event, upstream's.
func TestWhoAnswersAndWhatGoesUp(t *testing.T) {
	t.Parallel()
	r, c, u := between(t, nil)
	key := newKey()
	c.login(key)
	p443, p30443, deletion := signed(key, 443, "x"), signed(key, 30443, "x"), signed(key, 5, "", nostr.Tag{"e", strings.Repeat("0", 64)})
	request := signed(key, 447, "", nostr.Tag{"p", pub(newKey())})
	c.send(publish(p443), publish(request))
	c.accepted(p443.ID)
	c.accepted(request.ID)
	c.send(publish(p30443), publish(deletion))
	u.expect(publish(p30443), publish(deletion))
	u.send(fmt.Sprintf(`["OK",%q,true,"theirs"]`, p30443.ID), fmt.Sprintf(`["OK",%q,false,"theirs"]`, deletion.ID))
	c.expect(fmt.Sprintf(`["OK",%q,true,"theirs"]`, p30443.ID), fmt.Sprintf(`["OK",%q,false,"theirs"]`, deletion.ID))
	if got := look(r.store, func(s *store) []string { return s.deleted }); !slices.Equal(got, []string{strings.Repeat("0", 64)}) {
		t.Errorf("deleted %v", got)
	}
	r.refusal = "invalid: lifetime_length"
	for _, kind := range []int{443, 30443, 5} {
		e := signed(key, kind, "y")
		c.send(publish(e))
		c.refused(e.ID, "invalid: lifetime_length")
	}
	c.send(`["CLOSE","x"]`)
	u.expect(`["CLOSE","x"]`) // nothing that was refused
}

func TestWhatIsNotReadInOneWayIsRefused(t *testing.T) {
	t.Parallel()
	r, c, u := between(t, nil)
	key := newKey()
	c.login(key)
	for _, kind := range []int{443, 30443, 447, 5} {
		e := signed(key, kind, "content", nostr.Tag{"p", pub(newKey())})
		for _, respelled := range []string{
			strings.Replace(e.Raw, `"tags":`, `"tags":null,"x":`, 1), strings.Replace(e.Raw, `[["p"`, `[["client",null],["p"`, 1),
			strings.Replace(e.Raw, `"pubkey"`, `"PubKey"`, 1), strings.Replace(e.Raw, `"content":`, `"content":"junk","CONTENT":`, 1),
			strings.Replace(e.Raw, `"content"`, `"\ud800":1,"content"`, 1), strings.Replace(e.Raw, `"content":`, `"content":"","content":`, 1),
			strings.Replace(e.Raw, `"content"`, `"x":1,"content"`, 1) + " ", strings.Replace(e.Raw, `"sig":"`, `"sig":"00`, 1),
		} {
			c.send(`["EVENT",` + respelled + `]`)
			if strings.HasSuffix(respelled, " ") { // a field of another name is ignored
				switch kind {
				case 30443, 5:
					u.expect(`["EVENT",` + respelled + `]`)
				default:
					c.accepted(e.ID)
				}
				continue
			}
			c.refused(e.ID, "invalid:")
		}
	}
	for _, event := range []string{`{"id":"i","kind":443,"kind":1}`, `{"id":"i","kind":1,"KIND":443}`, `{"id":"i","kind":443.0}`, `{"id":"i"}`} {
		c.send(`["EVENT",` + event + `]`)
		c.refused("i", "invalid:")
	}
	for _, frame := range []string{
		`["EVENT"]`, `["EVENT",1]`, `["EVENT",{"kind":443}]`, `["event",{}]`, `rubbish`, ``, `["REQ"]`, `["REQ",1]`, `["REQ","",{}]`, `["CLOSE"]`, `["AUTH"]`, `["AUTH","x"]`,
		`["COUNT"]`, `["NEG-OPEN"]`,
	} {
		c.send(frame)
		if got := c.await("NOTICE")[1].(string); !strings.HasPrefix(got, "invalid:") {
			t.Errorf("%s: %s", frame, got)
		}
	}
	for _, filters := range []string{
		``, `,1`, `,{"kinds":[443.0]}`, `,{"kinds":["443"]}`, `,{"kinds":[1],"kinds":[443]}`, `,{"Kinds":[443]}`, `,{},{"kinds":null}`, strings.Repeat(`,{}`, 101),
	} {
		c.send(`["REQ","a"`+filters+`]`, `["COUNT","a"`+filters+`]`)
		c.closed("a", "invalid:")
		c.closed("a", "invalid:")
	}
	c.send(`["REQ","`+strings.Repeat("é", 65)+`",{}]`, `["NEG-OPEN","n","x","61"]`)
	c.closed(strings.Repeat("é", 65), "invalid:")
	c.await("NEG-ERR")
	c.send(`["REQ","`+strings.Repeat("é", 64)+`",{"kinds":[1]}]`, `["CLOSE","x"]`)
	u.expect(`["REQ","`+strings.Repeat("é", 64)+`",{"kinds":[1]}]`, `["CLOSE","x"]`) // and nothing before
	if n := look(r.store, func(s *store) int { return s.calls }); n != 4 {
		t.Errorf("%d calls for four events that are read in one way", n)
	}
}

func TestTheRelaysOwnKindsAreRefused(t *testing.T) {
	t.Parallel()
	_, c, u := between(t, nil)
	for _, kind := range []int{20447, 20448} {
		e := signed(newKey(), kind, "{}")
		c.send(publish(e))
		c.refused(e.ID, "blocked:")
	}
	c.send(`["CLOSE","x"]`)
	u.expect(`["CLOSE","x"]`)
}

func TestProtectedOnesComeFromTheirAuthor(t *testing.T) {
	t.Parallel()
	r, c, u := between(t, nil)
	key := newKey()
	for _, kind := range []int{443, 30443} {
		e := signed(key, kind, "x", nostr.Tag{"-"})
		c.send(publish(e))
		c.refused(e.ID, "auth-required:")
	}
	c.login(newKey())
	e := signed(key, 443, "x", nostr.Tag{"-"})
	c.send(publish(e))
	c.refused(e.ID, "auth-required:")
	c.login(key)
	c.send(publish(e))
	c.accepted(e.ID)
	if got := r.find(keypackage.KindKeyPackage, pub(key)); len(got) != 1 || got[0].Raw != e.Raw {
		t.Errorf("kept %v", got)
	}
	c.send(`["CLOSE","x"]`)
	u.expect(`["CLOSE","x"]`)
}

func TestAPublicationAndItsDeletionStayInOrder(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	c := r.dial(t)
	for i := range 20 {
		e := signed(key, 443, fmt.Sprint(i))
		deletion := signed(key, 5, "", nostr.Tag{"e", e.ID})
		c.send(publish(e), publish(deletion))
		c.accepted(e.ID)
		c.await("OK")
	}
	if left := r.find(443, pub(key)); len(left) > 0 {
		t.Errorf("%d are left", len(left))
	}
}

func TestWhatAClientSaidBeforeItLeftIsDone(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	c := r.dial(t)
	var frames []string
	for i := range 50 {
		frames = append(frames, publish(signed(key, 443, fmt.Sprint(i))))
	}
	c.send(frames...)
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
	eventually(t, "all are kept", func() bool { return len(r.find(443, pub(key))) == 50 })
}

// What it asked for is not: a KeyPackage would be handed out to nobody.
func TestWhatAClientAskedBeforeItLeftIsNotDone(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	r.hold = make(chan struct{})
	c, e := r.dial(t), signed(newKey(), 443, "x")
	c.login(key)
	c.send(publish(e), req("a", `{"kinds":[443],"authors":[%q]}`, pub(newKey())))
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
	eventually(t, "the session has gone", func() bool {
		wait := r.gateway.Deliver(gateway.DirectEvent{ID: "1", Recipient: pub(key), Event: e, Expires: time.Now().Add(time.Minute)})
		return wait(t.Context()) == outbox.NoSession
	})
	close(r.hold)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r.gateway.Close(ctx)
	eventually(t, "the publication is kept", func() bool { return len(r.find(443, e.PubKey)) == 1 })
	if claims := look(r.store, func(s *store) int { return len(s.claims) }); claims > 0 {
		t.Errorf("%d claims for a client that has left", claims)
	}
}

func TestANewKeyPackageIsToldToItsAuthorOnly(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	e := signed(key, 443, "x")
	author, stranger, publisher := r.dial(t), r.dial(t), r.dial(t)
	author.login(key)
	stranger.login(newKey())
	for _, c := range []*client{author, stranger} {
		c.send(req("l", `{"kinds":[443],"limit":0}`), req("m", `{"kinds":[443],"authors":[%q],"limit":0}`, pub(key)))
		c.expect(`["EOSE","l"]`, `["EOSE","m"]`)
	}
	publisher.send(publish(e))
	publisher.accepted(e.ID)
	author.expect(delivery("l", e), delivery("m", e))
	stranger.send(`["REQ","end",{"kinds":[1]}]`)
	stranger.expect(`["EOSE","end"]`)
}

func TestAloneItIsAKeyPackageRelay(t *testing.T) {
	t.Parallel()
	r, key := alone(t), newKey()
	c, other := r.dial(t), r.dial(t)
	other.send(req("l", `{"kinds":[30443]}`))
	other.expect(`["EOSE","l"]`)
	note, addressable, deletion := signed(key, 1, "x"), signed(key, 30443, "x"), signed(key, 5, "")
	c.send(publish(note), publish(addressable), publish(deletion), `["REQ","a",{"kinds":[1]},{}]`, `["COUNT","c",{"kinds":[1]}]`, `["NEG-OPEN","n",{"kinds":[1]},"61"]`, `["X"]`)
	c.refused(note.ID, "blocked:")
	c.accepted(addressable.ID)
	c.accepted(deletion.ID)
	c.expect(`["EOSE","a"]`)
	c.closed("c", "error:")
	c.await("NEG-ERR")
	c.await("NOTICE")
	other.expect(delivery("l", addressable))
	c.send(`["CLOSE","a"]`, req("b", `{"kinds":[30443],"authors":[%q],"limit":1}`, pub(key)))
	c.expect(delivery("b", addressable), `["EOSE","b"]`)
}

func TestAStoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	r, key := start(t, nil), newKey()
	c := r.dial(t)
	c.login(key)
	r.err = errDown
	for _, kind := range []int{443, 30443, 447, 5} {
		e := signed(key, kind, "x", nostr.Tag{"p", pub(newKey())})
		c.send(publish(e))
		c.refused(e.ID, "error:")
	}
	for id, filter := range map[string]string{"own": `{"kinds":[443],"authors":["` + pub(key) + `"]}`, "level": `{"kinds":[20448]}`, "granted": `{"kinds":[443],"#e":["x"]}`} {
		c.send(req(id, "%s", filter))
		if got := c.await("CLOSED"); got[1] != id || !strings.HasPrefix(got[2].(string), "error:") || strings.Contains(got[2].(string), errDown.Error()) {
			t.Errorf("got %v", got)
		}
	}
}
