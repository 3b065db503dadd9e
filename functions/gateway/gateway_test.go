package gateway_test

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip42"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/functions/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// asFunction says at which address this program serves the function, as the buildpack's program does.
const asFunction = "SERVE_GATEWAY_AT"

// patience is when the test gives up. Nothing waits for it to pass.
const patience = time.Minute

func TestMain(m *testing.M) {
	if address := os.Getenv(asFunction); address != "" {
		host, port, _ := strings.Cut(address, ":")
		log.Fatal(funcframework.StartHostPort(host, port))
	}
	os.Exit(emutest.Main(m))
}

// At SIGTERM, of which the framework knows nothing, the process ends what is under way, tells its sessions, and ends well.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	db, bob := fixture.New(t), actors.NewKey()
	const requesters = 10
	db.PutPackages(fixture.Packages(t, bob, requesters+1)...)
	function, ended := start(t, db.Project)
	var sessions []*session
	for range requesters {
		s := dial(t, "ws://"+function.Addr())
		s.send("REQ", "a", nostr.Filter{Kinds: []int{443, 20447}, LimitZero: true})
		s.until("EOSE")
		sessions = append(sessions, s)
	}
	idle := dial(t, "ws://"+function.Addr())
	for _, s := range sessions {
		request := actors.NewRequest(actors.Question{Owners: []string{bob.Pubkey}})
		s.sign(request)
		s.send("EVENT", request)
	}
	for _, s := range sessions {
		s.until("OK")
	}
	if err := syscall.Kill(function.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		s.until("EVENT") // the KeyPackage
		s.until("EVENT") // the outcome
	}
	for _, s := range append(sessions, idle) {
		if _, _, err := s.conn.Read(s.ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("a session ended with %v", err)
		}
	}
	select {
	case err := <-ended:
		if !strings.Contains(err.Error(), "(exit status 0)") {
			t.Errorf("the process: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the process did not end")
	}
	delivered := 0
	for _, d := range db.In(db.Collections.Deliveries) {
		if d.Fields["state"] == "delivered" && d.Fields["exposure_unknown"] == false {
			delivered++
		}
	}
	if left := len(db.In(db.Collections.KeyPackages)); delivered != requesters || left != 1 {
		t.Errorf("%d of %d are recorded as delivered, %d are left", delivered, requesters, left)
	}
}

// start serves the function in a process of its own, and reports why that ends by itself.
func start(t *testing.T, project string) (function *process.Process, ended <-chan error) {
	t.Helper()
	port, err := process.FreePort(0)
	if err != nil {
		t.Fatal(err)
	}
	failed, address := make(chan error, 1), process.Addr(port)
	function = &process.Process{
		Name: gateway.EntryPoint, Path: os.Args[0], LogFile: filepath.Join(t.TempDir(), "log"), Port: port, Failed: failed,
		Env: append(os.Environ(), asFunction+"="+address, "FUNCTION_TARGET="+gateway.EntryPoint, config.Project+"="+project,
			config.RelayAudience+"=http://"+address, config.DeliveryCaller+"=somebody@example.com"),
		Ready: process.ServesHTTP,
	}
	t.Cleanup(function.Kill)
	if err := function.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return function, failed
}

// session is a client that has authenticated with a key of its own.
type session struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	key  actors.Key
}

func dial(t *testing.T, relay string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, relay, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	s := &session{t, ctx, conn, actors.NewKey()}
	challenge, _ := s.until("AUTH")[1].(string)
	proof := nip42.CreateUnsignedAuthEvent(challenge, s.key.Pubkey, relay)
	s.sign(&proof)
	s.send("AUTH", proof)
	s.until("OK")
	return s
}

func (s *session) sign(event *nostr.Event) {
	s.t.Helper()
	if err := s.key.Sign(event); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) send(message ...any) {
	s.t.Helper()
	frame, err := json.Marshal(message)
	if err == nil {
		err = s.conn.Write(s.ctx, websocket.MessageText, frame)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// until returns the next frame, which must have that label, and, if it is an OK, say yes.
func (s *session) until(label string) (parts []any) {
	s.t.Helper()
	_, frame, err := s.conn.Read(s.ctx)
	if err == nil {
		err = json.Unmarshal(frame, &parts)
	}
	if err != nil || parts[0] != label || label == "OK" && parts[2] != true {
		s.t.Fatalf("got %s, %v, want %s", frame, err, label)
	}
	return parts
}
