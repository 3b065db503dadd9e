// Command emulator runs the whole system on one machine, on Google's official emulators.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/page"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

func main() {
	suite.Serve()
	command.Main("emulator", command.Choose("./emulator", []command.Subcommand{
		{Name: "demo", Summary: "play the main job, in all ways, and three harder cases, and check what was promised", Run: playDemo},
		{Name: "up", Summary: "start everything on fixed ports and leave it running", Run: up},
	}))
}

// up starts the suite on fixed ports and leaves it running until ctx ends.
func up(ctx context.Context, args []string) (err error) {
	opts := suite.Options{Project: command.LocalProject, FunctionEnv: settings(), Progress: command.Progress}
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print all addresses as one JSON line on standard output when ready")
	seed := flags.Bool("seed", false, "publish KeyPackages of a made-up owner, and print whom to ask for")
	flags.StringVar(&opts.Upstream, "upstream", "",
		"websocket `URL` of the relay behind the gateway, or none (default: an ordinary one is started)")
	flags.StringVar(&opts.RelayDeliveryURL, "relay-delivery-url", "",
		"`URL` of the delivery endpoint of a relay of your own, in the gateway's place")
	var pagePort int
	ports := []port{
		{"relay-port", "the relay", &opts.Ports.Gateway, 7447},
		{"page-port", "the live page", &pagePort, 7448},
		{"firestore-port", "the Firestore emulator", &opts.Ports.Firestore, 8080},
		{"pubsub-port", "the Pub/Sub emulator", &opts.Ports.PubSub, 8085},
		{"claim-port", suite.Claim, &opts.Ports.Claim, 8091},
		{"deliver-port", suite.Deliver, &opts.Ports.Deliver, 8092},
		{"expire-port", suite.Expire, &opts.Ports.Expire, 8093},
	}
	for _, p := range ports {
		flags.IntVar(p.chosen, p.name, p.standard, "port of "+p.what+"; 0 chooses a free one")
	}
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if opts.RelayDeliveryURL != "" && opts.Upstream != "" {
		return errors.New("-upstream is for the gateway, which -relay-delivery-url replaces")
	}
	if err := checkPorts(ports); err != nil {
		return err
	}
	s, err := suite.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		command.Progress("stopping")
		err = errors.Join(err, s.Stop())
	}()
	live, err := page.Start(ctx, pagePort, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, live.Stop()) }()
	ready := ready{Addresses: s.Addresses(), Page: live.URL()}
	if *seed {
		if ready.Seed, err = newSeed(ctx, ready.Relay); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	if err := announce(os.Stdout, ready, *asJSON); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.Failed():
		return err
	}
}

// ready is what up announces.
type ready struct {
	suite.Addresses
	Page string `json:"page"` // to watch it in a browser
	Seed *seed  `json:"seed,omitempty"`
}

// seed is an owner with stock, for clients to ask for.
type seed struct {
	Owner       string `json:"owner_pubkey"`
	Secret      string `json:"owner_secret"`
	KeyPackages int    `json:"keypackages"`
}

func newSeed(ctx context.Context, relay string) (*seed, error) {
	owner, err := actors.ConnectOwner(ctx, relay, actors.NewKey())
	if err != nil {
		return nil, err
	}
	defer owner.Disconnect()
	const stock = 10 // the first go to who asks, the last one to all who ask then
	_, err = owner.Stockpile(ctx, stock)
	return &seed{owner.Pubkey, owner.Secret, stock}, err
}

// settings returns the functions' settings in the environment: whatever config.Load asks for, except what the suite decides.
func settings() map[string]string {
	found := map[string]string{}
	_, _ = config.Load(func(name string) (string, bool) { // faults are reported when the suite loads them
		value, ok := os.LookupEnv(name)
		if ok {
			found[name] = value
		}
		return value, ok
	})
	for _, decided := range []string{config.Project, config.RelayDeliveryURL, config.UpstreamRelayURL, config.DeliveryCaller} {
		delete(found, decided)
	}
	return found
}

// port is one that a flag chooses.
type port struct {
	name     string // of the flag
	what     string
	chosen   *int
	standard int
}

// checkPorts names every port that is taken or asked for twice, and what to do about it, before anything is started.
func checkPorts(ports []port) error {
	var errs []error
	asked := map[int]port{}
	for _, p := range ports {
		if first, twice := asked[*p.chosen]; twice && *p.chosen != 0 {
			errs = append(errs, fmt.Errorf("-%s and -%s are both %d", first.name, p.name, *p.chosen))
		}
		asked[*p.chosen] = p
		_, err := process.FreePort(*p.chosen)
		if errors.Is(err, process.ErrPortInUse) {
			err = fmt.Errorf("%s: %w; stop it (`lsof -i :%d` shows it) or choose another port with -%s", p.what, err, *p.chosen, p.name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func announce(w io.Writer, r ready, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what, where, note string) { fmt.Fprintf(table, "  %s\t%s\t%s\n", what, where, note) }
	fmt.Fprintln(table, "\nReady; Ctrl-C stops everything.")
	row("live page", r.Page, "to watch and to play, in a browser")
	row("relay", r.Relay, "for any Nostr client")
	if r.Upstream != "" {
		row("the relay behind it", r.Upstream, "for itself only")
	}
	row("its delivery endpoint", r.RelayDelivery, "ID token of DeliverKeyPackages")
	for _, entryPoint := range []string{suite.Claim, suite.Deliver, suite.Expire} {
		row(entryPoint, r.Functions[entryPoint], "ID token of its caller")
	}
	row("Firestore", r.Firestore, "FIRESTORE_EMULATOR_HOST")
	row("Pub/Sub", r.PubSub, "PUBSUB_EMULATOR_HOST")
	row("metadata server", r.Metadata, "GCE_METADATA_HOST")
	row("project", r.Project, "GOOGLE_CLOUD_PROJECT")
	row("logs", r.Logs, "until it stops")
	if r.Seed != nil {
		row("an owner to ask for", r.Seed.Owner, fmt.Sprintf("has %d KeyPackages; secret key %s", r.Seed.KeyPackages, r.Seed.Secret))
	}
	fmt.Fprintln(table)
	return table.Flush()
}
