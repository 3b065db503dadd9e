// Package emulators finds or downloads, starts and stops Google's official Firestore and Pub/Sub emulators, and the Java runtime that
// they need. It runs Java itself rather than the wrapper scripts, so that the process it started is the one that listens.
package emulators

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// Options says how to start the emulators. The zero value is good.
type Options struct {
	FirestorePort, PubSubPort int          // 0 chooses a free one
	LogDir                    string       // "" is a temporary directory that Stop removes
	Java                      []string     // options of the Java runtime; nil is for some minutes with few documents
	Progress                  func(string) // told what is happening, in a few words; may be nil, must allow concurrent calls
}

// A small heap, because several packages' tests may each run a pair: without a bound the Firestore emulator grows to 1 GB under a
// load that it serves as well with 512 MB. It holds all documents there: 300,000 small ones need more. And a quick compiler: with
// Java's defaults that is most of an emulator's CPU in the first minutes, half of a start and of the 20 s of tests/simulation.
var smallJava = []string{"-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// Emulators is a running pair. Each may be stopped or killed, and then started again, at the same address and without its data,
// which lives in memory. The addresses are in the form that FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST want.
type Emulators struct {
	Firestore, PubSub *process.Process

	triggers triggers
	cleanup  []func() error // run last to first
}

// Start finds or downloads and starts both emulators and returns when they serve. The caller must call Stop; should this
// program end without doing so, the emulators end with it (on Linux). ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Emulators, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	installed, err := newSearch(opts.Progress).find(ctx)
	if err != nil {
		return nil, err
	}
	e := &Emulators{triggers: triggers{handlers: map[string]http.Handler{}}}
	if err := e.start(ctx, installed, opts); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

func (e *Emulators) start(ctx context.Context, installed installation, opts Options) (err error) {
	if opts.LogDir == "" {
		if opts.LogDir, err = os.MkdirTemp("", "emulators-"); err != nil {
			return fmt.Errorf("directory for the emulators' logs: %w", err)
		}
		e.cleanup = append(e.cleanup, func() error { return os.RemoveAll(opts.LogDir) })
	}
	events, err := process.Listen(0)
	if err != nil {
		return fmt.Errorf("listen for triggers: %w", err)
	}
	e.cleanup = append(e.cleanup, process.Serve(events, &e.triggers).Close)
	if opts.Java == nil {
		opts.Java = smallJava
	}
	emulator := func(p product, port int, args ...string) (*process.Process, error) {
		port, err := process.FreePort(port)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
		args = slices.Concat(opts.Java, []string{
			"-Duser.language=en", // the Firestore emulator has messages in English only (its own wrapper script sets the same)
			"-cp", installed.jars[p.name], p.mainClass, "--host=127.0.0.1", fmt.Sprint("--port=", port),
		}, args)
		log := filepath.Join(opts.LogDir, p.name+".log")
		return &process.Process{Name: p.title, Path: installed.java, Args: args, LogFile: log, Port: port, Ready: process.ServesHTTP}, nil
	}
	if e.Firestore, err = emulator(firestore, opts.FirestorePort, "--functions_emulator="+events.Addr().String()); err != nil {
		return err
	}
	if e.PubSub, err = emulator(pubsub, opts.PubSubPort); err != nil {
		return err // before either has taken its time to start
	}
	var group errgroup.Group
	for _, emulator := range []*process.Process{e.Firestore, e.PubSub} {
		e.cleanup = append(e.cleanup, func() error { emulator.Stop(); return nil })
		group.Go(func() error {
			begun := time.Now()
			err := emulator.Start(ctx)
			if err == nil {
				opts.Progress(fmt.Sprintf("%s is ready at %s (%.1f s)", emulator.Name, emulator.Addr(), time.Since(begun).Seconds()))
			}
			return err
		})
	}
	return group.Wait()
}

// Stop ends both emulators and returns when their processes are gone.
func (e *Emulators) Stop() (err error) {
	for _, undo := range slices.Backward(e.cleanup) {
		err = errors.Join(err, undo())
	}
	return err
}

// triggers hands the events of the Firestore emulator to who registered for them. An emulator knows one address for all its
// triggers, and calls them strictly one after another, of whatever project: handlers must answer at once.
type triggers struct {
	mu       sync.RWMutex
	handlers map[string]http.Handler // by path
}

// ServeHTTP takes an event from the emulator.
func (t *triggers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.RLock()
	defer t.mu.RUnlock() // held during the call, so that forgetting can wait for it
	if handler := t.handlers[r.URL.Path]; handler != nil {
		handler.ServeHTTP(w, r)
	} else {
		http.NotFound(w, r)
	}
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

// OnCreate registers a project's trigger with the Firestore emulator: from now on every document created in a collection is posted
// to handler, at most once and with the emulator's deviations from production, until forget returns, or the emulator is restarted.
func (e *Emulators) OnCreate(ctx context.Context, project, database, collection string, handler http.Handler) (forget func(), err error) {
	forget = e.triggers.handle("/functions/projects/"+project+"/triggers/created", handler)
	body, _ := json.Marshal(map[string]any{ // of strings, which cannot fail
		"eventType": "google.cloud.firestore.document.v1.created",
		"database":  database,
		"document":  map[string]string{"value": collection + "/{id}", "matchType": "PATH_PATTERN"},
	})
	url := fmt.Sprintf("http://%s/emulator/v1/projects/%s/eventarcTrigger?eventarcTriggerId=created", e.Firestore.Addr(), project)
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
