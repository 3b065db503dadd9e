// Package relaytest gives the tests of programs that talk to relays the reference relay, in their own process and without
// functions behind it.
package relaytest

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	reference "github.com/keypackage-delivery/keypackage-delivery/emulator/relay"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Relay is a running reference relay with a Firestore project of its own.
type Relay struct {
	URL      string // for Nostr clients
	Origin   string // the audience of its caller's tokens
	Endpoint string

	Documents   *firestore.Client
	Collections config.Collections

	t      testing.TB
	issuer *identity.Issuer
}

// Serve starts a relay that ends with the test. The test's package calls emutest.Main.
func Serve(t testing.TB, compatible bool) *Relay {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	project := emutest.Project(t)
	documents, err := firestore.NewClient(t.Context(), project)
	must(err)
	issuer, err := identity.Start(project)
	must(err)
	t.Cleanup(func() { _ = issuer.Stop() })
	settings, err := config.Load(func(name string) (string, bool) {
		value, ok := map[string]string{config.Project: project}[name]
		return value, ok
	})
	must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	address := listener.Addr().String()
	r := &Relay{
		URL: "ws://" + address, Origin: "http://" + address, Endpoint: "http://" + address + relayapi.Path,
		Documents: documents, Collections: settings.Collections, t: t, issuer: issuer,
	}
	running, err := reference.New(reference.Config{
		Firestore: documents, Collections: settings.Collections, Compatible: compatible, Log: slog.New(slog.DiscardHandler),
		Caller: relayapi.Caller{Issuer: relayapi.Issuer{Name: issuer.URL(), KeysURL: issuer.KeysURL()}, Audience: r.Origin, Email: issuer.FunctionAccount()},
		Nudge:  func(context.Context, string) error { return nil },
	})
	must(err)
	r.run(running, listener)
	return r
}

func (r *Relay) run(running *reference.Relay, listener net.Listener) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- running.Serve(ctx, listener) }()
	r.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		_ = r.Documents.Close()
	})
}

// Token is an ID token of the endpoint's caller for this relay.
func (r *Relay) Token() string { return r.mint(r.Origin, r.issuer.FunctionAccount()) }

// TokenFor is an ID token of the endpoint's caller for another audience.
func (r *Relay) TokenFor(audience string) string { return r.mint(audience, r.issuer.FunctionAccount()) }

// StrangersToken is a good ID token for this relay, of another account.
func (r *Relay) StrangersToken() string { return r.mint(r.Origin, r.issuer.Account("somebody-else")) }

func (r *Relay) mint(audience, account string) string {
	r.t.Helper()
	token, err := r.issuer.Mint(audience, account)
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}
