package serving_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

// What a 447 is granted comes on the subscription that is open when it is sent, however fast the others came and went.
func TestPipelined(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	stock := w.stocked(bob, 3)
	alice := gateway.login(actors.NewKey())
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
	alice.send(listens("a"), `["CLOSE","a"]`, listens("b"), publish(request))
	alice.await("EOSE")
	alice.await("EOSE")
	alice.accepted(request.ID)
	if got := alice.keyPackage("b"); got != stock[0] {
		t.Errorf("got %s, want the oldest, %s", got, stock[0])
	}
	if rows := alice.outcome(request.ID); len(rows) != 1 || rows[0]["granted"] != 1.0 || rows[0]["owner"] != bob.Pubkey ||
		!reflect.DeepEqual(rows[0]["keypackages"], []any{map[string]any{"id": stock[0], "last_resort": false}}) {
		t.Errorf("outcome %v", rows)
	}
	w.eventually("it is finished", func() bool { return len(gateway.log.about(t, "request")) > 0 })
	if w.isMarked(request.ID) {
		t.Error("the request is looked for still")
	}
	if d := w.deliveries(); len(d) != 1 || d[0]["state"] != "delivered" || d[0]["push_no"] != int64(1) {
		t.Errorf("deliveries %v", d)
	}
	lines := gateway.log.about(t, "request")
	if len(lines) != 1 || lines[0]["outcome"] != "granted" || lines[0]["request_event_id"] != request.ID {
		t.Fatalf("logged %v", lines)
	}
	counts, durations := lines[0]["counts"].(map[string]any), lines[0]["durations_ms"].(map[string]any)
	for name, want := range map[string]any{"owners": 1.0, "granted": 1.0, "pushes": 1.0, "delivered": 1.0, "waiting": 0.0, "unclear": 0.0} {
		if counts[name] != want {
			t.Errorf("counts %v: %s", counts, name)
		}
	}
	if durations["request_to_delivery"] == nil || durations["receipt_to_answer"] == nil {
		t.Errorf("durations %v", durations)
	}
}

func (w *world) isMarked(request string) bool {
	w.t.Helper()
	for _, d := range w.In(w.Collections.Requests) {
		if d.Fields["event"] != nil {
			_, marked := d.Fields["open"]
			return marked
		}
	}
	w.t.Fatalf("no request %s", request)
	return false
}

// Without an open subscription nothing is written, the answer is definite, and the KeyPackage can return to stock.
func TestNoSubscription(t *testing.T) {
	w := newWorld(t)
	bob, gateway := actors.NewKey(), w.start()
	w.stocked(bob, 3)
	alice := gateway.login(actors.NewKey())
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
	alice.send(listens("a"), `["CLOSE","a"]`, publish(request))
	alice.await("EOSE")
	alice.accepted(request.ID)
	w.eventually("the push has ended", func() bool {
		d := w.deliveries()
		return len(d) == 1 && d[0]["last_result"] == "no_subscription"
	})
	alice.nothing()
	if d := w.deliveries()[0]; d["state"] != "pending" || d["exposure_unknown"] != false {
		t.Errorf("delivery %v", d)
	}
	// It comes as soon as somebody listens, and so does the outcome.
	alice.send(listens("b"))
	var events, eose int
	for events < 2 || eose < 1 {
		switch parts := alice.next(); parts[0] {
		case "EVENT":
			events++
		case "EOSE":
			eose++
		}
	}
}

// A request that is published again brings what was delivered, also to a session at another instance.
func TestRepeatedRequest(t *testing.T) {
	w := newWorld(t)
	bob, key := actors.NewKey(), actors.NewKey()
	w.stocked(bob, 3)
	first := w.start().login(key)
	request := first.question(actors.Question{Owners: []string{bob.Pubkey}})
	first.send(listens("a"), publish(request))
	first.await("EOSE")
	first.accepted(request.ID)
	want := first.keyPackage("a")
	first.outcome(request.ID)
	w.eventually("it is recorded", func() bool { return w.deliveries()[0]["state"] == "delivered" })

	second := w.start().login(key)
	second.send(listens("b"), publish(request))
	second.await("EOSE")
	if reason := second.accepted(request.ID); reason == "" {
		t.Error("the second publication is not called a duplicate")
	}
	got := map[string]bool{}
	for range 2 {
		got[second.verified(second.await("EVENT")[2]).ID] = true
	}
	if !got[want] || len(w.inStock()) != 2 || len(w.deliveries()) != 1 {
		t.Errorf("got %v, want %s; %d in stock", got, want, len(w.inStock()))
	}
	second.send(`["REQ","direct",{"kinds":[443],"#e":["` + request.ID + `"]}]`)
	if ids := second.untilEOSE("direct"); len(ids) != 1 || ids[0] != want {
		t.Errorf("asked by the request's id: %v", ids)
	}
}

// What was published and deleted is not handed out, whichever came first and over whichever instance.
func TestPublishedAndDeleted(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	here, there := w.start(), w.start()
	owner, elsewhere := here.login(bob), there.login(bob)
	inOrder, early := w.keyPackage(bob, time.Hour), w.keyPackage(bob, 2*time.Hour)
	deletion := sign(t, bob, nostr.KindDeletion, "", nostr.Tag{"e", inOrder.ID})
	owner.send(publish(inOrder), publish(deletion))
	owner.accepted(inOrder.ID)
	owner.accepted(deletion.ID)
	before := sign(t, bob, nostr.KindDeletion, "", nostr.Tag{"e", early.ID})
	elsewhere.send(publish(before))
	elsewhere.accepted(before.ID)
	owner.send(publish(early))
	if ok := owner.await("OK"); ok[2] != false {
		t.Errorf("what was deleted is taken in: %v", ok)
	}
	alice := here.login(actors.NewKey())
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
	alice.send(listens("a"), publish(request))
	alice.await("EOSE")
	alice.accepted(request.ID)
	if rows := alice.outcome(request.ID); rows[0]["granted"] != 0.0 || rows[0]["reason"] != "none" || len(w.inStock()) != 0 {
		t.Errorf("outcome %v, in stock %v", rows, w.inStock())
	}
	if n := len(w.In(w.Collections.Tombstones)); n != 2 {
		t.Errorf("%d tombstones", n)
	}
}

// A KeyPackage that its owner deletes between claim and push, over another instance, is not pushed. Nobody else's deletion counts.
func TestDeletedBetweenClaimAndPush(t *testing.T) {
	w := newWorld(t)
	bob, key := actors.NewKey(), actors.NewKey()
	here, there := w.start(), w.start()
	stock := w.stocked(bob, 3)
	alice := here.login(key)
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}, Min: 2})
	alice.send(publish(request))
	alice.accepted(request.ID)
	w.eventually("nobody listens", func() bool {
		d := w.deliveries()
		return len(d) == 2 && d[0]["last_result"] == "no_subscription" && d[1]["last_result"] == "no_subscription"
	})
	for owner, id := range map[actors.Key]string{bob: stock[0], actors.NewKey(): stock[1]} {
		c := there.login(owner)
		deletion := sign(t, owner, nostr.KindDeletion, "", nostr.Tag{"e", id})
		c.send(publish(deletion))
		c.accepted(deletion.ID)
	}
	alice.send(`["REQ","a",{"kinds":[443],"limit":0}]`)
	var got []string
	for eose := false; !eose || len(got) == 0; {
		switch parts := alice.next(); parts[0] {
		case "EVENT":
			got = append(got, alice.verified(parts[2]).ID)
		case "EOSE":
			eose = true
		}
	}
	w.eventually("the other is recorded", func() bool {
		for _, d := range w.deliveries() {
			if d["keypackage_event_id"] == stock[1] && d["state"] == "delivered" {
				return true
			}
		}
		return false
	})
	alice.nothing()
	if len(got) != 1 || got[0] != stock[1] {
		t.Errorf("got %v, want %s", got, stock[1])
	}
}
