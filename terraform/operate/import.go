package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

// importStock takes what owners have on a relay into stock.
func importStock(ctx context.Context, args []string) error {
	o := newOptions("import")
	from := o.String("from", "", "`URL` of the relay, wss://...")
	authors := o.String("authors", "", "public `keys` of the owners, separated by commas (default: everybody's KeyPackages)")
	keyFile := o.String("key-file", "", "`file` with the secret key to authenticate with, for relays that want it")
	dryRun := o.Bool("dry-run", false, "say how much would be taken in, and take in nothing")
	if err := command.Parse(o.FlagSet, args); err != nil {
		return err
	}
	wanted, err := importOptions(*from, *authors, *keyFile)
	if err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	documents, err := assembly.Store(ctx, settings)
	if err != nil {
		return err
	}
	var into publishing.Store = documents
	taken := "taken in, as shared"
	if *dryRun {
		into, taken = importing.DryRun{Store: documents}, "at most would be taken in, as shared"
	}
	report, err := importing.Run(ctx, assembly.Publisher(settings, into), wanted)
	if err != nil && report.Seen == 0 {
		return err
	}
	return errors.Join(err, o.show(report, func(w io.Writer) error { return printImport(w, report, taken) }))
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

func printImport(w io.Writer, r importing.Report, taken string) error {
	if r.Seen == 0 {
		_, err := fmt.Fprintln(w, "no KeyPackages: the relay has none, or shows them to their owners only (-key-file)")
		return err
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
