package child

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/relay"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// relayFlags are the settings of the relay process. Project, database and topic override the environment variables of the
// functions, from which the names of the collections come.
type relayFlags struct {
	listen     string
	settings   map[string]*string // by environment variable
	caller     relayapi.Caller
	compatible bool
	legacy     bool
}

// runRelay serves the reference relay until the process is interrupted or terminated. When it is ready it prints one line of
// JSON with its address to standard output.
func runRelay(ctx context.Context, args []string) error {
	flags, err := parseRelayFlags(args)
	if err != nil {
		return err
	}
	settings, err := config.Load(flags.lookup)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	documents, err := firestore.NewClientWithDatabase(ctx, settings.Project, settings.Database)
	if err != nil {
		return fmt.Errorf("connect to Firestore: %w", err)
	}
	defer documents.Close()
	publisher, err := topic.NewPublisher(ctx, settings.Project, settings.DeliveryTopic)
	if err != nil {
		return err
	}
	defer publisher.Close()
	r, err := relay.New(relay.Config{
		Firestore:   documents,
		Collections: settings.Collections,
		Caller:      flags.caller,
		Nudge: func(ctx context.Context, requester string) error {
			return publisher.PublishRequesters(ctx, []string{requester})
		},
		Compatible:   flags.compatible,
		WithoutEvent: flags.legacy,
		Log:          log,
	})
	if err != nil {
		return err
	}
	defer tellOwners(ctx, r, settings, log)()
	return serveRelay(ctx, flags.listen, r)
}

// resubscribeAfter is how long the relay waits when it cannot read the notices' subscription, which may be missing.
const resubscribeAfter = 5 * time.Second

// tellOwners tells owners what is published about their stock, until stop is called. The subscription is named after the
// topic. Without it the relay serves all the same: notices are best effort.
func tellOwners(ctx context.Context, r *relay.Relay, settings config.Config, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	refuse := func(err error) { log.Warn("not a notice", "error", err) }
	var receiving sync.WaitGroup
	receiving.Go(func() {
		subscription := settings.NoticeTopic + "-relay"
		for ctx.Err() == nil {
			if err := topic.ReceiveNotices(ctx, settings.Project, subscription, r.TellOwner, refuse); err != nil {
				log.Error("owners are not told about their stock", "subscription", subscription, "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(resubscribeAfter):
			}
		}
	})
	return func() { cancel(); receiving.Wait() }
}

func parseRelayFlags(args []string) (relayFlags, error) {
	var f relayFlags
	set := flag.NewFlagSet("relay", flag.ContinueOnError)
	set.StringVar(&f.listen, "listen", "127.0.0.1:7447", "`address` to serve on")
	f.settings = map[string]*string{
		config.Project:       set.String("project", "", "project `id`"),
		"FIRESTORE_DATABASE": set.String("database", "", "Firestore database `id`"),
		"DELIVERY_TOPIC":     set.String("topic", "", "`id` of the topic that nudges are published to"),
	}
	set.StringVar(&f.caller.Audience, "audience", "", "this relay's name in the ID tokens of its caller")
	set.StringVar(&f.caller.Issuer.Name, "issuer", "", "`URL` of who issues these tokens")
	set.StringVar(&f.caller.Issuer.KeysURL, "jwks", "", "`URL` of the issuer's keys")
	set.StringVar(&f.caller.Email, "caller-email", "", "the caller's service `account`")
	set.BoolVar(&f.compatible, "compat", false, "serve clients that subscribe with since, or #e with the request's id")
	set.BoolVar(&f.legacy, "legacy", false, "write KeyPackage documents without the signed event, as older relays do")
	return f, set.Parse(args)
}

// lookup is os.LookupEnv with the flags on top.
func (f relayFlags) lookup(name string) (string, bool) {
	fromEnvironment, ok := os.LookupEnv(name)
	if setting := f.settings[name]; setting != nil && *setting != "" {
		return *setting, true
	}
	return fromEnvironment, ok
}

func serveRelay(ctx context.Context, address string, r *relay.Relay) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ready := map[string]any{"ready": true, "url": "ws://" + listener.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return errors.Join(fmt.Errorf("say that the relay is ready: %w", err), listener.Close())
	}
	return r.Serve(ctx, listener)
}
