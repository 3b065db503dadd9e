package relay

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// spread is the event in an unusual but valid spelling, which must arrive as it is.
func spread(e *nostr.Event) string {
	return fmt.Sprintf("{ \"sig\":%q,\n\"kind\" : %d, \"created_at\":%d,\"pubkey\":%q,\t\"id\":%q,\"tags\":[ ], \"content\":\"\\u0061\\/b\" }",
		e.Sig, e.Kind, e.CreatedAt, e.PubKey, e.ID)
}

func TestEventArrivesVerbatim(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice := l.join(t), l.join(t).login()
	alice.stored(`s"<é`, nostr.Filter{Kinds: []int{443}, Authors: []string{bob.pubkey}, Limit: 1})
	for i := range 3 { // more than the limit
		e := bob.event(443, "a/b")
		e.CreatedAt = nostr.Timestamp(1795415479 + i)
		bob.sign(e)
		d := deliveryOf(e)
		d.Event = spread(e)
		l.pushOne(t, alice.pubkey, d, relayapi.Delivered)
		message, frame := alice.next("EVENT")
		if text(t, message[1]) != `s"<é` || !strings.HasSuffix(frame, ","+spread(e)+"]") {
			t.Fatalf("got %s", frame)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice, mallory := l.join(t), l.join(t), l.join(t)
	d := deliveryOf(bob.event(443, "x"))
	l.pushOne(t, alice.pubkey, d, relayapi.NoSession)
	alice.stored("s", nostr.Filter{Kinds: []int{443}})
	l.pushOne(t, alice.pubkey, d, relayapi.NoSession) // not authenticated
	alice = alice.again().login()
	l.pushOne(t, alice.pubkey, d, relayapi.NoSubscription)
	alice.stored("s", nostr.Filter{Kinds: []int{443}, Authors: []string{mallory.pubkey}})
	l.pushOne(t, alice.pubkey, d, relayapi.NoSubscription)
	alice.stored("t", nostr.Filter{Kinds: []int{443}, Authors: []string{bob.pubkey}})
	l.pushOne(t, alice.pubkey, d, relayapi.Delivered)
	l.pushOne(t, alice.pubkey, d, relayapi.Delivered)
	alice.send("CLOSE", "s")
	alice.send("CLOSE", "t")

	bad := map[string]relayapi.Delivery{}
	for name, change := range map[string]func(*relayapi.Delivery){
		"other id":      func(d *relayapi.Delivery) { d.KeyPackageEventID = strings.Repeat("1", 64) },
		"other owner":   func(d *relayapi.Delivery) { d.OwnerPubkey = mallory.pubkey },
		"other kind":    func(d *relayapi.Delivery) { *d = deliveryOf(bob.event(1, "x")) },
		"wrong content": func(d *relayapi.Delivery) { d.Event = strings.Replace(d.Event, `"x"`, `"y"`, 1) },
		"trailing":      func(d *relayapi.Delivery) { d.Event += `,"more"` },
		"no JSON":       func(d *relayapi.Delivery) { d.Event = "x" },
		"never seen":    func(d *relayapi.Delivery) { d.Event = "" },
	} {
		b := d
		change(&b)
		b.ID = name
		bad[name] = b
	}
	for name, b := range bad {
		want := relayapi.Rejected
		if name == "never seen" {
			want = relayapi.UnknownEvent
		}
		if got := l.push(t, relayapi.DeliveryRequest{RequesterPubkey: alice.pubkey, Deliveries: []relayapi.Delivery{b}}); got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
}

func TestManyDeliveriesAtOnce(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice := l.join(t), l.join(t).login()
	alice.stored("s", nostr.Filter{Kinds: []int{443}})
	push := relayapi.DeliveryRequest{RequesterPubkey: alice.pubkey}
	for i := range 40 {
		push.Deliveries = append(push.Deliveries, deliveryOf(bob.event(443, fmt.Sprint(i))))
	}
	got := l.push(t, push)
	for i, d := range push.Deliveries {
		if got[d.ID] != relayapi.Delivered {
			t.Errorf("%d: got %q", i, got[d.ID])
		}
		if _, frame := alice.next("EVENT"); frame != `["EVENT","s",`+d.Event+`]` {
			t.Errorf("%d: received %s", i, frame)
		}
	}
}

// TestStuckClient has a client that stops reading, and more to write than the kernel buffers.
func TestStuckClient(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice := l.join(t), l.join(t)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	alice.dialer = &http.Client{Transport: &http.Transport{DialContext: dial}}
	alice.connect()
	alice.login().stored("s", nostr.Filter{Kinds: []int{443}})
	push := relayapi.DeliveryRequest{RequesterPubkey: alice.pubkey}
	for i := range 60 {
		push.Deliveries = append(push.Deliveries, deliveryOf(bob.event(443, fmt.Sprint(i)+strings.Repeat("A", 120<<10))))
	}
	counts := map[relayapi.Status]int{}
	for _, status := range l.push(t, push) {
		counts[status]++
	}
	if counts[relayapi.Delivered] == 0 || counts[relayapi.Unknown] != 1 || counts[relayapi.NoSession] == 0 || len(counts) != 3 {
		t.Errorf("got %v, want some delivered, one unknown, and the rest not begun", counts)
	}
}

func TestExpiredPushIsNotBegun(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	bob, alice := l.join(t), l.join(t).login()
	alice.stored("s", nostr.Filter{Kinds: []int{443}})
	d := deliveryOf(bob.event(443, ""))
	got := l.push(t, relayapi.DeliveryRequest{RequesterPubkey: alice.pubkey, ExpiresAt: time.Now().Unix(), Deliveries: []relayapi.Delivery{d}})
	if got[d.ID] != relayapi.NoSession {
		t.Errorf("got %q", got[d.ID])
	}
}

func TestCompatibilitySetting(t *testing.T) {
	t.Parallel()
	for _, compatible := range []bool{false, true} {
		l := serve(t, func(c *Config) { c.Compatible = compatible })
		bob, alice := l.join(t), l.join(t).login()
		hour := nostr.Now() + 3600
		alice.stored("s", nostr.Filter{Kinds: []int{443}, Since: &hour, Tags: nostr.TagMap{"e": {strings.Repeat("a", 64)}}})
		want := relayapi.NoSubscription
		if compatible {
			want = relayapi.Delivered
		}
		l.pushOne(t, alice.pubkey, deliveryOf(bob.event(443, "")), want)
	}
}

func TestDeliveryByIDAlone(t *testing.T) {
	t.Parallel()
	l := serve(t, func(c *Config) { c.WithoutEvent = true })
	bob, alice := l.join(t).login(), l.join(t).login()
	alice.stored("s", nostr.Filter{Kinds: []int{443}})
	e := bob.mustPublish(bob.event(443, "x"))
	document := l.document(t, l.names.KeyPackages, e.ID)
	if _, has := document["event"]; has || document["content"] != "x" {
		t.Errorf("the document is %v", document)
	}
	if got := bob.stored("s", nostr.Filter{Kinds: []int{443}}); len(got) != 1 {
		t.Errorf("the author sees %v", got)
	}
	if _, err := l.documents.Collection(l.names.KeyPackages).Doc(e.ID).Delete(t.Context()); err != nil { // consumed
		t.Fatal(err)
	}
	d := deliveryOf(e)
	d.Event = ""
	l.pushOne(t, alice.pubkey, d, relayapi.Delivered)
	if _, frame := alice.next("EVENT"); frame != fmt.Sprintf(`["EVENT","s",%s]`, e) {
		t.Errorf("received %s", frame)
	}
}

func TestOutcomeReachesTheRequester(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	alice, mallory := l.join(t).login(), l.join(t).login()
	request := alice.mustPublish(alice.event(447, "", nostr.Tag{"p", bob}))
	mallory.stored("s", nostr.Filter{Kinds: []int{KindOutcome}})
	push := relayapi.DeliveryRequest{
		RequestEventID: request.ID, RequesterPubkey: alice.pubkey, ExpiresAt: time.Now().Unix(),
		Outcome: relayapi.Outcome{Rows: []relayapi.OutcomeRow{{Owner: bob, Requested: 2, Reason: "limited", RetryAt: 1795415479}}},
	}
	forged := push
	forged.RequesterPubkey = mallory.pubkey // not her request
	unseen := push
	unseen.RequestEventID, unseen.RequesterPubkey = strings.Repeat("2", 64), mallory.pubkey
	for _, p := range []relayapi.DeliveryRequest{forged, unseen, push, push} {
		l.pushAs(t, p)
	}
	alice.send("REQ", "s", nostr.Filter{Kinds: []int{KindOutcome}, Tags: nostr.TagMap{"e": {request.ID}}}) // only now
	message, _ := alice.next("EVENT")
	var notice nostr.Event
	if err := notice.UnmarshalJSON(message[2]); err != nil {
		t.Fatal(err)
	}
	if ok, err := notice.CheckSignature(); !ok || err != nil || notice.PubKey != l.identity {
		t.Errorf("the notice is not the relay's: %v", err)
	}
	validate(t, "Outcome", []byte(notice.Content))

	marker := alice.event(KindOutcome, "published by a client, for all")
	alice.mustPublish(marker)
	if _, frame := mallory.next("EVENT"); frame != fmt.Sprintf(`["EVENT","s",%s]`, marker) {
		t.Errorf("a stranger received %s", frame)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	good := fmt.Sprintf(`{"request_event_id":%q,"requester_pubkey":%q,"expires_at":1,"deliveries":[]}`, strings.Repeat("a", 64), bob)
	token := "Bearer " + l.token(t, l.issuer.FunctionAccount())
	for name, tt := range map[string]struct {
		authorization, body string
		want                int
	}{
		"good":           {token, good, 200},
		"no token":       {"", good, 401},
		"somebody else":  {"Bearer " + l.token(t, "x@y.example"), good, 403},
		"no JSON":        {token, "x", 400},
		"empty":          {token, "{}", 400},
		"no deliveries":  {token, strings.Replace(good, `,"deliveries":[]`, "", 1), 400},
		"null":           {token, strings.Replace(good, "[]", "null", 1), 400},
		"upper case":     {token, strings.ReplaceAll(good, "a", "A"), 400},
		"nameless":       {token, strings.Replace(good, "[]", "[{}]", 1), 400},
		"too large":      {token, good + strings.Repeat(" ", relayapi.MaxRequestBytes), 413},
		"large, allowed": {token, good + strings.Repeat(" ", relayapi.MaxRequestBytes-len(good)), 200},
	} {
		if got, answer := post(t, l.address, tt.authorization, []byte(tt.body)); got != tt.want {
			t.Errorf("%s: got %d %s, want %d", name, got, answer, tt.want)
		}
	}
	for range maxPushes {
		l.pushes <- struct{}{}
	}
	if got, _ := post(t, l.address, token, []byte(good)); got != http.StatusTooManyRequests {
		t.Errorf("busy: got %d", got)
	}
}

func TestOtherHTTP(t *testing.T) {
	t.Parallel()
	l := serve(t, nil)
	get := func(path, host, accept string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if status, body := get("/", "", "application/nostr+json"); status != 200 || !strings.Contains(body, `"supported_nips":[1,9,11,42]`) || !strings.Contains(body, l.identity) {
		t.Errorf("NIP-11: %d %s", status, body)
	}
	if status, _ := get(relayapi.Path, "", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET of the endpoint: %d", status)
	}
	if status, _ := get("/elsewhere", "", ""); status != http.StatusNotFound {
		t.Errorf("other path: %d", status)
	}
	_, port, _ := strings.Cut(l.address, ":")
	if status, _ := get("/", "localhost:"+port, "application/nostr+json"); status != 200 {
		t.Errorf("localhost: %d", status)
	}
	if status, _ := get("/", "relay.example", "application/nostr+json"); status != http.StatusMisdirectedRequest {
		t.Errorf("foreign name: %d", status)
	}
}
