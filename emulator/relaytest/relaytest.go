// Package relaytest gives tests a gateway before an ordinary relay, in their own process and without functions behind it.
package relaytest

import (
	"context"
	"log/slog"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Relay is a running gateway with a Firestore project of its own.
type Relay struct {
	URL         string // for Nostr clients
	Endpoint    string
	Documents   *firestore.Client
	Collections config.Collections

	// ID tokens: of the endpoint's caller, of the same for another audience, and of another account.
	Token, OtherAudience, OtherCaller string
}

// Serve starts a gateway that ends with the test. Settings are added to those that it needs. The test's package calls emutest.Main.
func Serve(t testing.TB, settings map[string]string) *Relay {
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
	t.Cleanup(func() { _ = documents.Close() })
	issuer, err := identity.Start(project)
	must(err)
	t.Cleanup(func() { _ = issuer.Stop() })
	behind := httptest.NewServer(upstream.New())
	t.Cleanup(behind.Close)
	listener, err := process.Listen(0)
	must(err)
	address := listener.Addr().String()
	origin := "http://" + address
	env := map[string]string{
		config.Project:          project,
		config.RelayAudience:    origin,
		config.RelayDeliveryURL: origin + relayapi.Path,
		config.DeliveryCaller:   issuer.FunctionAccount(),
		config.UpstreamRelayURL: strings.Replace(behind.URL, "http", "ws", 1),
	}
	maps.Copy(env, settings)
	cfg, err := config.Load(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	must(err)
	gateway, err := assembly.NewGateway(t.Context(), cfg, identity.At(issuer.Host()), slog.New(slog.DiscardHandler))
	must(err)
	server := process.Serve(listener, gateway)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // nothing waits for it to pass
		defer cancel()
		gateway.Close(ctx)
		_ = server.Close()
	})
	mint := func(audience, account string) string {
		token, err := issuer.Mint(audience, account)
		must(err)
		return token
	}
	return &Relay{
		"ws://" + address, origin + relayapi.Path, documents, cfg.Collections,
		mint(origin, issuer.FunctionAccount()), mint("https://elsewhere.example", issuer.FunctionAccount()),
		mint(origin, issuer.Account("somebody-else")),
	}
}
