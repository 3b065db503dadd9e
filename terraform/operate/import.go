package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

// importStock takes what owners have on a relay into stock. It takes its settings from the environment, as stock does.
func importStock(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	from := flags.String("from", "", "`URL` of the relay, wss://...")
	authors := flags.String("authors", "", "public `keys` of the owners, separated by commas (default: everybody's KeyPackages)")
	keyFile := flags.String("key-file", "", "`file` with the secret key to authenticate with, for relays that want it")
	dryRun := flags.Bool("dry-run", false, "say what would be taken in, and take in nothing")
	project := projectFlag(flags)
	asJSON := flags.Bool("json", false, "print JSON")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	options, err := importOptions(*from, *authors, *keyFile)
	if err != nil {
		return err
	}
	settings, err := load(*project)
	if err != nil {
		return err
	}
	report, err := runImport(ctx, settings, options, *dryRun)
	if err != nil && report.Seen == 0 {
		return err
	}
	if *asJSON {
		return errors.Join(err, command.PrintJSON(os.Stdout, report))
	}
	return errors.Join(err, printImport(os.Stdout, report, *dryRun))
}

func runImport(ctx context.Context, settings config.Config, o importing.Options, dryRun bool) (importing.Report, error) {
	documents, err := assembly.Store(ctx, settings)
	if err != nil {
		return importing.Report{}, err
	}
	var into publishing.Store = documents
	if dryRun {
		into = importing.NewDryRun(documents)
	}
	return importing.Run(ctx, assembly.Publisher(settings, into), o)
}

func importOptions(from, authors, keyFile string) (o importing.Options, err error) {
	relay, err := url.Parse(from)
	if err != nil || relay.Hostname() == "" || relay.User != nil || relay.Scheme != "ws" && relay.Scheme != "wss" {
		return o, errors.New("-from is not a relay's URL: wss:// (or ws://) and a host, without a password, since it is printed")
	}
	o = importing.Options{From: from, Progress: progress}
	for author := range strings.SplitSeq(authors, ",") {
		if authors == "" {
			break
		}
		key, err := pubkey(strings.TrimSpace(author))
		if err != nil {
			return o, fmt.Errorf("-authors: %w", err)
		}
		o.Authors = append(o.Authors, key)
	}
	if keyFile != "" {
		o.Secret, err = secretKey(keyFile)
	}
	return o, err
}

func progress(r importing.Report) {
	command.Progress(fmt.Sprintf("%d events, back to %s: %d taken in, %d duplicate, %d refused",
		r.Seen, r.Oldest.Format(time.RFC3339), r.Taken, sum(r.Duplicate), sum(r.Refused)))
}

func printImport(w io.Writer, r importing.Report, dryRun bool) error {
	if r.Seen == 0 {
		_, err := fmt.Fprintln(w, "no KeyPackages: the relay has none, or shows them to their owners only (-key-file)")
		return err
	}
	taken := "taken in, as shared"
	if dryRun {
		taken = "would be taken in, as shared"
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d\t events\n%d\t %s\n", r.Seen, r.Taken, taken)
	for _, group := range []struct {
		what   string
		counts map[string]int
	}{{"duplicate", r.Duplicate}, {"refused", r.Refused}} {
		for _, reason := range slices.Sorted(maps.Keys(group.counts)) {
			fmt.Fprintf(table, "%d\t %s: %s\n", group.counts[reason], group.what, reason)
		}
	}
	if r.CrowdedSeconds > 0 {
		fmt.Fprintf(table, "%d\t seconds of which the relay may have more than it sends at once: import again with -authors\n", r.CrowdedSeconds)
	}
	return table.Flush()
}

func sum(counts map[string]int) (total int) {
	for n := range maps.Values(counts) {
		total += n
	}
	return total
}
