// Package relay is the reference relay: a small real Nostr relay (NIP-01, NIP-09, NIP-11, NIP-42), built on khatru, that
// keeps KeyPackages and requests in Firestore and serves the delivery endpoint described in shared/relayapi/openapi.yaml. It
// keeps every promise written there, so it is what other relays can be compared with.
//
// In reading order: relay.go and hooks.go put khatru to work, publish.go takes events in, shelf.go and library.go keep them,
// endpoint.go takes deliveries in, sessions.go, session.go and write.go bring them to the requester. accept.go,
// conn.go, kinds.go, notice.go, nudge.go, outcome.go, parcel.go, recent.go, shape.go and stock.go serve these.
//
// khatru keeps the protocol: websockets, parsing, signatures, authentication. The list of subscriptions and every write of
// an EVENT that was not asked for are ours, because khatru's are not safe for concurrent use, know no timeout, and would
// show KeyPackages to everyone.
//
// Limits: one process, one connection is one identity (the first that authenticates), and all but KeyPackages, requests and
// tombstones is forgotten when the process ends.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Config is what a relay needs. Fields without a comment on their absence are required.
type Config struct {
	Firestore   *firestore.Client // the caller closes it after the relay has ended
	Collections config.Collections
	Caller      relayapi.Caller

	// Nudge tells the functions that a session of the requester has opened a subscription for KeyPackages.
	Nudge func(ctx context.Context, requester string) error

	// Compatible makes deliveries ignore a filter's since and until, and takes an #e filter that names the request as
	// matching. For clients that do not compare what they receive with their filter.
	Compatible bool

	// WithoutEvent writes KeyPackage documents as relays did before they held the signed event.
	WithoutEvent bool

	Log *slog.Logger // nil: slog.Default()
}

// Relay serves Nostr clients and the delivery endpoint.
type Relay struct {
	shelf    *shelf
	library  *library
	sessions *sessions
	notices  *notices
	nudger   *nudger
	guard    *relayapi.Guard
	pushes   chan struct{} // one for each push in progress
	now      func() time.Time
	log      *slog.Logger
	identity string // public key that signs notices
}

// New returns a relay with a signing key of its own. It does no I/O.
func New(c Config) (*Relay, error) {
	if c.Firestore == nil || c.Nudge == nil {
		return nil, errors.New("the relay needs Firestore and a way to nudge")
	}
	guard, err := relayapi.NewGuard(c.Caller)
	if err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	sessions := newSessions(matching{compatible: c.Compatible}, time.Now)
	notices, err := newNotices(sessions, time.Now)
	if err != nil {
		return nil, err
	}
	return &Relay{
		shelf:    newShelf(c.Firestore, c.Collections, c.WithoutEvent),
		library:  newLibrary(),
		sessions: sessions,
		notices:  notices,
		nudger:   &nudger{publish: c.Nudge, log: c.Log},
		guard:    guard,
		pushes:   make(chan struct{}, maxPushes),
		now:      time.Now,
		log:      c.Log,
		identity: notices.identity,
	}, nil
}

// Serve serves on listener until ctx ends, and closes it.
func (r *Relay) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           r.handler(listener.Addr()),
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       time.Minute,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	err := server.Serve(patient{listener})
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// handler serves one origin under the names by which this machine reaches it. What NIP-42 compares an authentication with
// is the address that the client used; a request under a foreign name could carry what was signed for somebody else.
func (r *Relay) handler(address net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(relayapi.Path, r.serveDeliveries)
	mux.Handle("/", r.nostr())
	names := hosts(address)
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if !names[request.Host] {
			http.Error(w, "this relay has another name", http.StatusMisdirectedRequest)
			return
		}
		request.Header.Del("X-Forwarded-Host") // khatru would believe them
		request.Header.Del("X-Forwarded-Proto")
		mux.ServeHTTP(w, request)
	})
}

func hosts(address net.Addr) map[string]bool {
	_, port, _ := net.SplitHostPort(address.String()) // an address of a TCP listener has a port
	names := map[string]bool{address.String(): true}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		names[net.JoinHostPort(name, port)] = true
	}
	return names
}
