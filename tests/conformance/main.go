// Command conformance checks a relay against the contract of KeyPackage delivery, from the outside: as clients on its websocket, and as
// the function on its delivery endpoint. Each rule is checked with people who are made up for it and delete what they have published,
// so a relay in use is not disturbed. What documents it writes is seen only if -project lets Firestore be read.
//
//	go run ./tests/conformance -relay wss://relay.example
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"
	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func main() { command.Main("conformance", checkConformance) }

func checkConformance(ctx context.Context, args []string) error {
	target, err := readTarget(ctx, args)
	if err != nil {
		return err
	}
	told, broken := 0, 0
	err = Run(ctx, target, func(r rule, err error) {
		verdict := "pass"
		switch {
		case errors.Is(err, errNotChecked):
			verdict = "not checked"
		case err != nil:
			verdict = "FAIL"
			broken++
		}
		told++
		fmt.Printf("%2d of %d  %-11s  %-15s  %s\n", told, len(rules), verdict, r.name, r.promise)
		if err != nil {
			fmt.Printf("%39s %v\n", "", err)
		}
	})
	if err == nil && broken > 0 {
		err = fmt.Errorf("%d of %d rules are broken", broken, len(rules))
	}
	return err
}

func readTarget(ctx context.Context, args []string) (t Target, err error) {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.StringVar(&t.Relay, "relay", "ws://127.0.0.1:7447", "websocket `URL` of the relay; the default is that of `up`")
	flags.StringVar(&t.Endpoint, "endpoint", "", "`URL` of its delivery endpoint (default: that of the relay's host)")
	flags.StringVar(&t.Token, "token", "", "ID `token` of the endpoint's caller "+
		"(default: as the function gets it, from the metadata server or the credentials of this environment)")
	flags.StringVar(&t.OtherCaller, "other-token", "", "good ID `token` of another account, to see it refused")
	audience := flags.String("audience", "", "audience of the token (default: origin of the endpoint)")
	project := flags.String("project", "", "Google Cloud `project` of the relay's Firestore, to look at its documents, too")
	flags.DurationVar(&t.Quiet, "quiet", 500*time.Millisecond, "how long to listen for what must not arrive")
	flags.DurationVar(&t.Slack, "slack", time.Second,
		"what the network, or a busy machine, may add to the time that anything has to arrive")
	if err := command.Parse(flags, args); err != nil {
		return t, err
	}
	if t.Quiet <= 0 || t.Slack < 0 { // who does not listen hears nothing that must not arrive
		return t, fmt.Errorf("-quiet is %v and must be above zero, -slack is %v and must not be below", t.Quiet, t.Slack)
	}
	if err := actors.CheckRelayURL(t.Relay); err != nil {
		return t, err
	}
	relay := must(url.Parse(t.Relay))
	t.Endpoint = cmp.Or(t.Endpoint, strings.Replace(relay.Scheme, "ws", "http", 1)+"://"+relay.Host+relayapi.Path)
	endpoint, err := url.Parse(t.Endpoint)
	if err != nil || endpoint.Host == "" {
		return t, errors.New("-endpoint is not an absolute URL")
	}
	if err := t.openDocuments(ctx, *project); err != nil || t.Token != "" {
		return t, err
	}
	if t.Token, err = fetchToken(ctx, cmp.Or(*audience, endpoint.Scheme+"://"+endpoint.Host)); err == nil {
		t.OtherAudience, err = fetchToken(ctx, "https://relay.invalid")
	}
	return t, err
}

// fetchToken gets a token of the caller's as the function does: from the metadata server, which GCE_METADATA_HOST names in the
// local suite, or from a service account's credentials in the environment.
func fetchToken(ctx context.Context, audience string) (string, error) {
	credentials, err := idtoken.NewCredentials(&idtoken.Options{Audience: audience})
	if err != nil {
		return "", fmt.Errorf("get an ID token (for the local suite, set GCE_METADATA_HOST; otherwise see -token): %w", err)
	}
	token, err := credentials.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("get an ID token: %w", err)
	}
	return token.Value, nil
}

// openDocuments has the relay's documents looked at as well, if a project is named. All else is settings of the environment.
func (t *Target) openDocuments(ctx context.Context, project string) error {
	if project == "" {
		return nil
	}
	settings, err := config.Load(func(name string) (string, bool) {
		if name == config.Project {
			return project, true
		}
		return os.LookupEnv(name)
	})
	if err != nil {
		return err
	}
	t.Collections = settings.Collections
	t.Documents, err = firestore.NewClientWithDatabase(ctx, project, settings.Database)
	return err
}

// Target is the relay to be checked.
type Target struct {
	Relay         string            // websocket URL
	Endpoint      string            // URL of the delivery endpoint
	Token         string            // ID token of the endpoint's caller
	OtherAudience string            // ID token of the same caller for another audience; "" leaves that check out
	OtherCaller   string            // good ID token of somebody else; "" leaves that check out
	Documents     *firestore.Client // of the relay; nil leaves the checks of what it writes out
	Collections   config.Collections
	Quiet         time.Duration // how long nothing arrives before it is believed that nothing will: longer than a frame travels
	Slack         time.Duration // what the network, or a busy machine, may add to the time that anything has to arrive
}

// rule is one promise and how to check it. The check ends the probe if it is broken.
type rule struct {
	name, promise string
	check         func(*probe)
}

var rules = slices.Concat(keyPackageRules, deliveryRules, storageRules, protocolRules)

// Run checks one rule after another and tells what came of each, see [Target.try]. It fails if nothing answers at the relay's URL, and
// then no rule was checked.
func Run(ctx context.Context, target Target, tell func(rule, error)) error {
	if err := target.try(ctx, func(p *probe) { p.visit() }); err != nil {
		return actors.ExplainUnreachable(err)
	}
	for _, r := range rules {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		tell(r, target.try(ctx, r.check))
	}
	return nil
}
