// Package page shows a running suite in a browser, live, and lets people play with it: who has what in stock, how each request
// moves, what waits, what the functions do. It shows no content of packages.
//
// Everything that comes out of documents and logs may be a stranger's: the browser only ever makes text of it.
package page

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/trace"
)

//go:embed index.html
var index string

// refresh is how often the page looks: a request takes some 20 ms, which nobody sees moving, and each look costs some reads.
const refresh = 300 * time.Millisecond

// patience bounds what a button does; the slowest is the start of a process on a busy machine.
const patience = 30 * time.Second

// Page is the page of one suite. It is safe for concurrent use.
type Page struct {
	hosts  []string // by which browsers may call it
	system *suite.Suite
	client *firestore.Client
	store  *store.Store
	people *people
	server *http.Server

	mu        sync.Mutex // guards what was seen when it was last looked
	at        time.Time
	encoded   []byte
	functions []*function
	stocked   []person
	stockedAt time.Time
}

// Start serves the page on a port of 127.0.0.1; 0 is any. The caller must call Stop before the suite's.
func Start(ctx context.Context, port int, system *suite.Suite) (*Page, error) {
	client, err := system.Documents(ctx)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	listener, err := process.Listen(port)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("page: %w", err), client.Close())
	}
	address, settings := listener.Addr().(*net.TCPAddr), system.Config()
	p := &Page{
		hosts:  []string{address.String(), fmt.Sprintf("localhost:%d", address.Port)},
		system: system, client: client, store: store.New(client, settings.Collections, settings.Policy),
		people: newPeople(system.Addresses().Relay),
	}
	for _, name := range entryPoints {
		if system.PID(name) != 0 {
			p.functions = append(p.functions, &function{Name: name, Outcomes: map[string]int{}, logFile: system.LogFile(name)})
		}
	}
	p.server = process.Serve(listener, p.handler())
	return p, nil
}

// URL is where the page is.
func (p *Page) URL() string { return "http://" + p.hosts[0] + "/" }

// Stop ends it.
func (p *Page) Stop() error { return errors.Join(p.server.Close(), p.client.Close()) }

func (p *Page) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serveIndex)
	mux.HandleFunc("GET /events", p.serveEvents)
	mux.HandleFunc("GET /story/{name}", answer(p.story))
	mux.HandleFunc("POST /play/{name}", answer(p.people.play))
	mux.HandleFunc("POST /crash/{name}", answer(p.crash))
	return p.ownHostOnly(http.NewCrossOriginProtection().Handler(mux))
}

// ownHostOnly refuses what was sent to another name: a site may have its own name point here, and would be the same origin.
func (p *Page) ownHostOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(p.hosts, r.Host) {
			http.Error(w, "this page answers at "+p.URL()+" only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveIndex lets the browser run the script and the style of the page itself and nothing else, whatever is shown.
func (p *Page) serveIndex(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; connect-src 'self'; img-src data:; "+
		"script-src 'nonce-%s'; style-src 'nonce-%[1]s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	_, _ = strings.NewReplacer("NONCE", nonce).WriteString(w, index)
}

// serveEvents sends the state whenever it has changed, as server-sent events, until the browser leaves.
func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for last := ""; r.Context().Err() == nil; <-tick.C {
		event, data := "state", p.look(r.Context())
		if data == nil {
			event, data = "trouble", []byte("the documents cannot be read")
		}
		now := fmt.Sprintf("event: %s\ndata: %s\n\n", event, data)
		if now == last {
			continue
		}
		if _, err := w.Write([]byte(now)); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		last = now
	}
}

// answer does what a name says and writes what came of it as JSON.
func answer[T any](do func(ctx context.Context, name string) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		name := r.PathValue("name")
		if strings.Contains(name, "/") { // nothing has such a name, documents included
			http.NotFound(w, r)
			return
		}
		told, err := do(ctx, name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(told)
	}
}

// story tells what became of a request.
func (p *Page) story(ctx context.Context, request string) (trace.Trace, error) {
	history, err := p.store.History(ctx, request)
	return trace.New(request, history, time.Now()), err
}

func (p *Page) crash(ctx context.Context, name string) (string, error) {
	if !slices.Contains(entryPoints, name) {
		return "", fmt.Errorf("%q is no function", name)
	}
	return name + " was killed and runs again", p.system.Restart(ctx, name)
}
