package serving_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
	"github.com/keypackage-delivery/keypackage-delivery/shared/serving"
)

// ledger is what stands in Firestore where the time is not that of the world: the switch, and one owner's stock.
type ledger struct {
	serving.Store
	mu    sync.Mutex
	word  string // of the switch; "" if there is none
	err   error  // what reading the switch fails with
	count int
	slow  chan struct{} // who has counted goes on when it is closed; nil: at once
	other int           // ciphersuites of which she once had something as well
	reads int           // counts
}

func (l *ledger) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *ledger) Mode(context.Context) (string, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.word, l.word != "", l.err
}

func (l *ledger) Supplies(context.Context, string) (map[string]keypackage.Supply, error) {
	supplies := map[string]keypackage.Supply{"0x0001": {Level: keypackage.LevelLow, Count: 3, At: time.Unix(1, 0)}}
	for i := range l.other {
		supplies[fmt.Sprintf("0xf%03x", i)] = keypackage.Supply{Level: keypackage.LevelLow, Count: 3}
	}
	return supplies, nil
}

func (l *ledger) CountSuite(context.Context, string, string, int) (int, error) {
	l.mu.Lock()
	count, slow := l.count, l.slow
	l.reads++
	l.mu.Unlock()
	if slow != nil {
		<-slow
	}
	return count, nil
}

// timeless runs a service in a bubble whose time passes when nothing else happens.
func timeless(t *testing.T, run func(t *testing.T, service *serving.Service, documents *ledger)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		documents := &ledger{count: 3}
		mode := rollout.New(keypackage.ModeDeliver, documents, time.Now)
		service, err := serving.New(serving.Config{
			Gateway: gateway.Config{Hosts: []string{"relay.example"}}, SecretKey: nostr.GeneratePrivateKey(), Store: documents, Mode: mode,
			Publisher:      publishing.New(nil, publishing.Settings{}, time.Now),
			Claimer:        claiming.New(nil, nil, claiming.Settings{}, time.Now),
			Deliverer:      func(delivering.Relay) *delivering.Deliverer { return nil },
			OutcomeContent: func([]keypackage.Row) (string, error) { return "", nil }, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := service.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer service.Close(t.Context())
		run(t, service, documents)
	})
}

// An operator's switch takes hold within the ten seconds that are promised, also if one reading fails, and is lifted as fast.
func TestTheSwitchTakesHoldWithinTenSeconds(t *testing.T) {
	timeless(t, func(t *testing.T, service *serving.Service, documents *ledger) {
		for i, word := range []string{"off", "", "observe", "", "rubbish", "", "off", ""} {
			time.Sleep(time.Duration(i) * 700 * time.Millisecond) // at some time between two readings
			documents.set(func() { documents.word = word })
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if service.Serving() != (word == "") {
				t.Errorf("%q: serving is %v", word, service.Serving())
			}
			documents.set(func() { documents.err = errors.New("away") })
			time.Sleep(time.Minute)
			if service.Serving() != (word == "") {
				t.Errorf("%q, and Firestore is away: serving is %v", word, service.Serving())
			}
			documents.set(func() { documents.err = nil })
			time.Sleep(10 * time.Second)
		}
	})
}

// What other instances do to an owner's stock she is told every ten minutes, if there is anything to tell.
func TestLevelsAreRepeatedIfTheyHaveChanged(t *testing.T) {
	timeless(t, func(t *testing.T, service *serving.Service, documents *ledger) {
		bob := actors.NewKey()
		frames := listenAs(t, service, bob)
		if first := <-frames; levelIn(t, first).Count != 3 || levelIn(t, first).Level != "low" {
			t.Errorf("told %s", first)
		}
		if eose := <-frames; eose != `["EOSE","levels"]` {
			t.Errorf("got %s", eose)
		}
		time.Sleep(11 * time.Minute)
		documents.set(func() { documents.count = 7 })
		changed := time.Now()
		if second := <-frames; levelIn(t, second).Count != 7 || levelIn(t, second).Level != "ok" || time.Since(changed) > 10*time.Minute {
			t.Errorf("told %s after %v", second, time.Since(changed))
		}
	})
}

// A reading that takes long is not told after one that began later.
func TestLevelsAreToldInTheirOrder(t *testing.T) {
	timeless(t, func(t *testing.T, service *serving.Service, documents *ledger) {
		bob, slow := actors.NewKey(), make(chan struct{})
		frames := listenAs(t, service, bob)
		<-frames
		<-frames
		documents.set(func() { documents.count, documents.slow = 5, slow })
		time.Sleep(10 * time.Minute) // it is read
		synctest.Wait()
		documents.set(func() { documents.count, documents.slow = 7, nil })
		if _, err := service.Level(t.Context(), bob.Pubkey); err != nil { // another session of hers asks
			t.Fatal(err)
		}
		close(slow)
		synctest.Wait()
		documents.set(func() { documents.count = 8 })
		if next := levelIn(t, <-frames); next.Count != 8 {
			t.Errorf("told %+v after seven", next)
		}
	})
}

// Each ciphersuite costs a read. Whoever names many of her own invention costs no more.
func TestLevelsOfManyCiphersuites(t *testing.T) {
	timeless(t, func(t *testing.T, service *serving.Service, documents *ledger) {
		documents.set(func() { documents.other = 1000 })
		if _, err := service.Level(t.Context(), actors.NewKey().Pubkey); err != nil || documents.reads > 16 {
			t.Errorf("%v after %d counts", err, documents.reads)
		}
	})
}

func levelIn(t *testing.T, frame string) row {
	t.Helper()
	var parts []json.RawMessage
	var event nostr.Event
	var content struct{ Rows []row }
	if err := json.Unmarshal([]byte(frame), &parts); err != nil || len(parts) != 3 {
		t.Fatalf("got %s", frame)
	}
	if err := errors.Join(json.Unmarshal(parts[2], &event), json.Unmarshal([]byte(event.Content), &content)); err != nil || len(content.Rows) != 1 {
		t.Fatalf("got %s", frame)
	}
	return content.Rows[0]
}

// listenAs opens a session in memory that listens for the state of its stock, and returns its frames.
func listenAs(t *testing.T, service *serving.Service, key actors.Key) <-chan string {
	t.Helper()
	listener := pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: service}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	transport := &http.Transport{DialContext: listener.dial}
	conn, _, err := websocket.Dial(t.Context(), "ws://relay.example", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	c := &client{t: t, conn: conn, relay: "ws://relay.example", key: key}
	c.challenge = c.await("AUTH")[1].(string)
	c.authenticate()
	c.send(`["REQ","levels",{"kinds":[20448]}]`)
	frames := make(chan string)
	go func() {
		defer close(frames)
		for {
			_, frame, err := conn.Read(t.Context())
			if err != nil {
				return
			}
			frames <- string(frame)
		}
	}()
	return frames
}

// pipes is a network in memory.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
}

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.dialled <- theirs
	return ours, nil
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.dialled:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }
