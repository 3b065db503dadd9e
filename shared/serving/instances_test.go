package serving_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Three instances that know nothing of each other: every request is answered where its session is, and nothing is delivered twice.
func TestThreeInstances(t *testing.T) {
	w := newWorld(t)
	instances := []*instance{w.start(), w.start(), w.start()}
	owners := []actors.Key{actors.NewKey(), actors.NewKey()}
	for _, owner := range owners {
		w.stocked(owner, 40)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var all sync.WaitGroup
	for i := range 30 {
		alice := instances[i%3].login(actors.NewKey())
		request := alice.question(actors.Question{Owners: []string{owners[0].Pubkey, owners[1].Pubkey}})
		alice.send(listens("a"), publish(request))
		all.Go(func() {
			alice.await("EOSE")
			alice.accepted(request.ID)
			for events := 0; events < 3; events++ {
				if e := alice.verified(alice.await("EVENT")[2]); e.Kind == keypackage.KindKeyPackage {
					mu.Lock()
					seen[e.ID]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if len(seen) != 60 || len(w.inStock()) != 20 {
		t.Errorf("%d different KeyPackages, %d left", len(seen), len(w.inStock()))
	}
}

// Instances end one after another under load, as in a new revision's roll-out, and their clients go elsewhere: what was asked is
// answered, and nothing is delivered to two requesters.
func TestRollingRestart(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	stock := w.stocked(bob, 40)
	old, young := []*instance{w.start(), w.start()}, []*instance{w.start(), w.start()}
	var mu sync.Mutex
	seen := map[string][]string{}
	var all sync.WaitGroup
	for i := range 20 {
		key := actors.NewKey()
		c := old[i%2].login(key)
		request := c.question(actors.Question{Owners: []string{bob.Pubkey}})
		c.send(listens("a"), publish(request))
		all.Go(func() {
			id, ok := c.firstKeyPackage()
			for !ok {
				c = young[i%2].login(key)
				c.send(listens("a"), publish(request))
				id, ok = c.firstKeyPackage()
			}
			go func() { // until the end, as clients do
				for {
					if _, err := c.read(); err != nil {
						return
					}
				}
			}()
			mu.Lock()
			defer mu.Unlock()
			seen[id] = append(seen[id], key.Pubkey)
		})
	}
	for _, i := range old {
		i.end()
	}
	all.Wait()
	if len(seen) != 20 || len(w.inStock()) != len(stock)-20 {
		t.Errorf("%d KeyPackages for 20 requesters, %d left of %d", len(seen), len(w.inStock()), len(stock))
	}
	for _, d := range w.deliveries() {
		if d["exposure_unknown"] != false {
			t.Errorf("unclear: %v", d["last_result"])
		}
	}
	for _, i := range old {
		if lines := i.log.about(t, "gateway"); len(lines) != 1 || lines[0]["counts"].(map[string]any)["logins"] != 10.0 {
			t.Errorf("logged %v", lines)
		}
	}
}

// firstKeyPackage returns the id of the first KeyPackage that is sent, unless the session ends before.
func (c *client) firstKeyPackage() (string, bool) {
	for {
		frame, err := c.read()
		if err != nil {
			return "", false
		}
		var parts []any
		if json.Unmarshal([]byte(frame), &parts) != nil || parts[0] != "EVENT" {
			continue
		}
		if event, ok := parts[2].(map[string]any); ok && event["kind"] == float64(keypackage.KindKeyPackage) {
			return event["id"].(string), true
		}
	}
}

// call calls the delivery endpoint and returns status and answer.
func (i *instance) call(token string, body any) (int, relayapi.DeliveryResponse) {
	i.w.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		i.w.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(i.w.t.Context(), http.MethodPost, i.http+relayapi.Path, bytes.NewReader(encoded))
	if err != nil {
		i.w.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		i.w.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer relayapi.DeliveryResponse
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			i.w.t.Fatal(err)
		}
	}
	return response.StatusCode, answer
}

func (w *world) token(audience, account string) string {
	w.t.Helper()
	token, err := w.issuer.Mint(audience, account)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// The delivery endpoint takes pushes of its caller only, and says of each delivery what became of it.
func TestEndpoint(t *testing.T) {
	w := newWorld(t)
	gateway := w.start()
	bob, key := actors.NewKey(), actors.NewKey()
	good, other := w.keyPackage(bob, time.Hour), w.keyPackage(actors.NewKey(), time.Hour)
	id := strings.Repeat("1", 64)
	push := relayapi.DeliveryRequest{
		RequestEventID: id, RequesterPubkey: key.Pubkey, ExpiresAt: time.Now().Add(time.Minute).Unix(),
		Outcome: relayapi.Outcome{Rows: []relayapi.OutcomeRow{{Owner: bob.Pubkey, Requested: 1, Granted: 1}}},
		Deliveries: []relayapi.Delivery{
			{ID: "good", KeyPackageEventID: good.ID, OwnerPubkey: bob.Pubkey, Event: good.String()},
			{ID: "forged", KeyPackageEventID: other.ID, OwnerPubkey: bob.Pubkey, Event: other.String()},
			{ID: "absent", KeyPackageEventID: other.ID, OwnerPubkey: bob.Pubkey},
		},
	}
	caller := w.issuer.FunctionAccount()
	for token, want := range map[string]int{
		"": 401, "x.y.z": 401, w.token("https://elsewhere.example", caller): 401, w.token(audience, "x@y.example"): 403,
	} {
		if status, _ := gateway.call(token, push); status != want {
			t.Errorf("got %d, want %d", status, want)
		}
	}
	alice := gateway.login(key)
	answers := func() (all []relayapi.Status) {
		status, answer := gateway.call(w.token(audience, caller), push)
		if status != http.StatusOK || len(answer.Results) != 3 {
			t.Fatalf("got %d, %v", status, answer)
		}
		for i, r := range answer.Results {
			if r.ID != push.Deliveries[i].ID {
				t.Errorf("got %v", answer)
			}
			all = append(all, r.Status)
		}
		return all
	}
	if got := answers(); !slices.Equal(got, []relayapi.Status{relayapi.NoSubscription, relayapi.Rejected, relayapi.UnknownEvent}) {
		t.Errorf("nobody listens: %v", got)
	}
	alice.send(`["REQ","a",{"kinds":[443],"limit":0}]`, `["REQ","b",{"kinds":[20447],"limit":0}]`)
	alice.await("EOSE")
	for range 2 { // the outcome that was heard before, and the EOSE
		alice.next()
	}
	for range 2 { // once, however often it is pushed
		if got := answers(); got[0] != relayapi.Delivered {
			t.Errorf("somebody listens: %v", got)
		}
	}
	if got := alice.keyPackage("a"); got != good.ID {
		t.Errorf("got %s", got)
	}
	alice.nothing()
	if status, _ := gateway.call(w.token(audience, caller), map[string]any{"request_event_id": "x"}); status != http.StatusBadRequest {
		t.Errorf("got %d for rubbish", status)
	}
}

// A POST of who is not the caller is answered though it never ends, and its connection is closed.
func TestPostThatNeverEnds(t *testing.T) {
	w := newWorld(t)
	gateway := w.start()
	for _, path := range []string{relayapi.Path, "/"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(gateway.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // to the end of the connection
		if want := map[bool]string{true: " 401 ", false: " 405 "}[path == relayapi.Path]; err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%s: %q, %v", path, answer, err)
		}
	}
}

// All gateways of a database sign with one key, which stands in their documents, and a client believes only that.
func TestOneKey(t *testing.T) {
	w := newWorld(t)
	var keys []string
	for _, i := range []*instance{w.start(), w.start()} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.http, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/nostr+json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			KeyPackages struct {
				Pubkey string `json:"pubkey"`
			} `json:"keypackages"`
		}
		if err := json.NewDecoder(response.Body).Decode(&document); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		keys = append(keys, document.KeyPackages.Pubkey)
	}
	if !keypackage.IsPubkey(keys[0]) || keys[0] != keys[1] {
		t.Errorf("keys %v", keys)
	}
	stranger := actors.NewKey()
	c := w.start().login(stranger)
	forged := sign(t, stranger, keypackage.KindOutcome, `{"rows":[]}`, nostr.Tag{"p", c.key.Pubkey})
	c.send(publish(forged))
	if ok := c.await("OK"); ok[2] != false {
		t.Errorf("a forged outcome is taken: %v", ok)
	}
}
