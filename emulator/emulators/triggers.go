package emulators

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// triggers receives the events of the Firestore emulator and hands them to who registered for them.
//
// An emulator knows one address for all its triggers, and calls them strictly one after another: a slow handler delays
// every other trigger of every project. Handlers must therefore answer at once.
type triggers struct {
	server *http.Server
	addr   string

	mu       sync.RWMutex
	handlers map[string]http.Handler // by path
}

// Trigger names the documents whose creation is wanted.
type Trigger struct {
	ID       string // of the caller's choice, unique within the project
	Project  string
	Database string
	Document string // path pattern, for example "orders/{id}"
}

func (t Trigger) path() string {
	return fmt.Sprintf("/functions/projects/%s/triggers/%s", t.Project, t.ID)
}

func newTriggers() (*triggers, error) {
	listen, err := process.Listen(0)
	if err != nil {
		return nil, fmt.Errorf("listen for triggers: %w", err)
	}
	t := &triggers{addr: listen.Addr().String(), handlers: map[string]http.Handler{}}
	t.server = process.Serve(listen, t)
	return t, nil
}

// ServeHTTP takes an event from the emulator.
func (t *triggers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.RLock()
	defer t.mu.RUnlock() // held during the call, so that Forget can wait for it
	handler := t.handlers[r.URL.Path]
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler.ServeHTTP(w, r)
}

// OnCreate registers a trigger with the Firestore emulator: from now on every created document that matches is posted to
// handler, at most once and with the emulator's deviations from production. A restarted emulator has forgotten it.
func (e *Emulators) OnCreate(ctx context.Context, trigger Trigger, handler http.Handler) error {
	e.triggers.mu.Lock()
	e.triggers.handlers[trigger.path()] = handler
	e.triggers.mu.Unlock()
	body, err := json.Marshal(map[string]any{
		"eventType": "google.cloud.firestore.document.v1.created",
		"database":  trigger.Database,
		"document":  map[string]string{"value": trigger.Document, "matchType": "PATH_PATTERN"},
	})
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/eventarcTrigger?eventarcTriggerId=%s",
		e.Firestore.Addr(), trigger.Project, trigger.ID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json") // anything else is a 404
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("register trigger: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("register trigger: %s: %s", res.Status, bytes.TrimSpace(answer))
	}
	return nil
}

// Forget stops handing a trigger's events to its handler, and returns when no call of it is running.
func (e *Emulators) Forget(trigger Trigger) {
	e.triggers.mu.Lock()
	defer e.triggers.mu.Unlock()
	delete(e.triggers.handlers, trigger.path())
}
