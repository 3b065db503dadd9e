// Package gateway is the relay side: it stands before any Nostr relay, or alone, and adds what KeyPackages need (NIP-01, NIP-11,
// NIP-42, NIP-70), so that neither that relay nor its clients have to know of them.
//
// In reading order:
//
//	gateway.go       what a gateway is made of, its end, and what operators want to know
//	ports.go         what it needs from outside: everything that touches Firestore, claims and levels
//	http.go          HTTP: names, addresses, websockets, the NIP-11 document
//	session.go       one client: its frames are dealt with one after another, and slow work beside them
//	frames.go        what each frame means: EVENT, COUNT, NEG-OPEN, CLOSE, and what only passes through
//	login.go         AUTH
//	plan.go          what a REQ asks for, without I/O
//	subscription.go  what becomes of a REQ, and when its EOSE is due
//	serve.go         the gateway's own part of the answer
//	upstream.go      a session's own connection to the relay behind, and what may come from there
//	sessions.go      who is here, and how something reaches them (Deliver); maps that forget
//	attend.go        when what is pending is looked for
//
// Inside it are four packages with one idea each: wire (frames and filters, read as I-JSON), outbox (what is on its way to one
// client), upstream (how the relay behind is reached) and bounds (what one client may do, and why not more).
//
// # Behind the ports
//
// The gateway decides who may ask for what, in which order, and how often; it never decides what is handed out. Publisher, Stock,
// Requests, Levels and Switch are asked for the rest, and give what they have for a client to Gateway.Deliver, the way by which
// everything reaches it that it did not ask for in the same breath: KeyPackages, outcomes (20447), levels (20448). So an
// implementation needs a Gateway and a Gateway its ports: build the implementation, then New, then hand it the gateway.
//
// The instance that holds a session does that session's work. Nothing here knows of other instances.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
)

// Config is what a gateway needs. All but Upstream, ProxyHops and the switches is required.
type Config struct {
	Upstream    *upstream.Relay // nil: there is no relay behind the gateway
	SharesLogin bool            // upstream's challenge is used, and it is sent the AUTH: both have one operator
	Hosts       []string        // names, with or without a port, under which clients reach the gateway
	ProxyHops   int             // which entry of X-Forwarded-For, from the right, is the client's address; 0: there is no proxy
	Pubkey      string          // of the key that signs outcomes and notices
	ReqClaims   bool            // a REQ for stored KeyPackages is a request
	Ports       Ports
	Log         *slog.Logger
}

// Gateway serves Nostr clients. It is an http.Handler, and safe for concurrent use.
type Gateway struct {
	Config
	addresses bounds.Addresses
	sessions  sessions
	attendant attendant
	tally     tally
}

// tally counts what operators want to know, for Tally.
type tally struct {
	logins, loginsRefused, upstreamDialled, upstreamFailed, publishRefused, rateLimited, tooSlow atomic.Int64
}

// New returns a gateway. It does no I/O.
func New(c Config) (*Gateway, error) {
	p := c.Ports
	if p.Publisher == nil || p.Stock == nil || p.Requests == nil || p.Levels == nil || p.Switch == nil {
		return nil, errors.New("gateway: a port is missing")
	}
	if len(c.Hosts) == 0 || c.Pubkey == "" || c.Log == nil {
		return nil, errors.New("gateway: it needs the names under which it is reached, the key that signs its notices, and a log")
	}
	return &Gateway{
		Config: c, sessions: sessions{byKey: map[string]map[*session]bool{}}, attendant: attendant{again: map[string]bool{}},
	}, nil
}

// Sessions returns how many sessions are open.
func (g *Gateway) Sessions() int { return len(g.sessions.of(everybody)) }

// Tally returns how many sessions are open, and what has happened since it was last called: logins accepted and refused,
// connections to upstream that were tried and that could not be made, KeyPackages refused when they were published, frames refused
// because there were too many, and sessions that ended because their client did not read.
func (g *Gateway) Tally() map[string]int {
	t := &g.tally
	counts := map[string]int{"sessions": g.Sessions()}
	for name, counter := range map[string]*atomic.Int64{
		"logins": &t.logins, "logins_refused": &t.loginsRefused, "upstream_dialled": &t.upstreamDialled, "upstream_failed": &t.upstreamFailed,
		"publish_refused": &t.publishRefused, "rate_limited": &t.rateLimited, "too_slow": &t.tooSlow,
	} {
		counts[name] = int(counter.Swap(0))
	}
	return counts
}

// Close ends all sessions: no frame is taken any more, what is under way is finished and told, and every client is sent a close
// frame. It returns when that is done or ctx ends; then the rest is cut off.
func (g *Gateway) Close(ctx context.Context) {
	left := g.addresses.Close()
	var all sync.WaitGroup
	for _, s := range g.sessions.of(everybody) {
		all.Go(func() { s.retire(ctx, "the relay is restarted") })
	}
	all.Wait()
	await(ctx, left) // also those whose clients have left before
	g.attendant.close(ctx)
}

// guard runs f and survives its panic. What the panic says is not logged: it might repeat what a client has sent.
func (g *Gateway) guard(f, ended func()) {
	defer func() {
		if fault := recover(); fault != nil {
			g.Log.Error("panic", "type", fmt.Sprintf("%T", fault), "stack", string(debug.Stack()))
			ended()
		}
	}()
	f()
}
