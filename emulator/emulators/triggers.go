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
	defer t.mu.RUnlock() // held during the call, so that forgetting can wait for it
	handler := t.handlers[r.URL.Path]
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler.ServeHTTP(w, r)
}

// handle hands the events of a path to handler, until forget returns: then no call of it is running.
func (t *triggers) handle(path string, handler http.Handler) (forget func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers[path] = handler
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.handlers, path)
	}
}

// OnCreate registers a project's trigger with the Firestore emulator: from now on every document created in a collection is
// posted to handler, at most once and with the emulator's deviations from production. When forget returns, no call is running
// and none will come. A restarted emulator has forgotten it.
func (e *Emulators) OnCreate(ctx context.Context, project, database, collection string, handler http.Handler) (forget func(), err error) {
	const id = "created"
	forget = e.triggers.handle("/functions/projects/"+project+"/triggers/"+id, handler)
	body, _ := json.Marshal(map[string]any{ // of strings, which cannot fail
		"eventType": "google.cloud.firestore.document.v1.created",
		"database":  database,
		"document":  map[string]string{"value": collection + "/{id}", "matchType": "PATH_PATTERN"},
	})
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/eventarcTrigger?eventarcTriggerId=%s", e.Firestore.Addr(), project, id)
	if err := register(ctx, url, body); err != nil {
		forget()
		return nil, fmt.Errorf("register trigger: %w", err)
	}
	return forget, nil
}

func register(ctx context.Context, url string, trigger []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(trigger))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json") // anything else is a 404
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(answer))
	}
	return nil
}
