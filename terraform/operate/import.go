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
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

// importStock takes what owners have on a relay into stock.
func importStock(ctx context.Context, o *options) error {
	wanted, err := importOptions(o.from, o.authors, o.keyFile)
	if err != nil {
		return err
	}
	var into publishing.Store = o.documents
	taken := "taken in, as shared"
	if o.dryRun {
		into, taken = importing.DryRun{Store: into}, "at most would be taken in, as shared"
	}
	report, err := importing.Run(ctx, assembly.Publisher(o.settings, into), wanted)
	if err != nil && report.Seen == 0 {
		return err
	}
	return errors.Join(err, o.show(report, func(w io.Writer) { printImport(w, report, taken) }))
}

func importOptions(from, authors, keyFile string) (o importing.Options, err error) {
	relay, err := url.Parse(from)
	if err != nil || relay.Hostname() == "" || relay.User != nil || relay.Scheme != "ws" && relay.Scheme != "wss" {
		return o, errors.New("-from is not a relay's URL: wss:// (or ws://) and a host, without a password, since it is printed")
	}
	o = importing.Options{From: from, Progress: progress}
	if authors != "" {
		for author := range strings.SplitSeq(authors, ",") {
			key, err := pubkey(strings.TrimSpace(author))
			if err != nil {
				return o, fmt.Errorf("-authors: %w", err)
			}
			o.Authors = append(o.Authors, key)
		}
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

func sum(counts map[string]int) (total int) {
	for _, n := range counts {
		total += n
	}
	return total
}

func printImport(w io.Writer, r importing.Report, taken string) {
	if r.Seen == 0 {
		fmt.Fprintln(w, "no KeyPackages: the relay has none, or shows them to their owners only (-key-file)")
		return
	}
	width := 2 + len(fmt.Sprint(r.Seen)) // of the largest count
	line := func(count int, what string) { fmt.Fprintf(w, "%*d %s\n", width, count, what) }
	line(r.Seen, "events")
	line(r.Taken, taken)
	for _, reason := range slices.Sorted(maps.Keys(r.Duplicate)) {
		line(r.Duplicate[reason], "duplicate: "+reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		line(r.Refused[reason], "refused: "+reason)
	}
	if r.CrowdedSeconds > 0 {
		line(r.CrowdedSeconds, "seconds of which the relay may have more than it sends at once: import again with -authors")
	}
}
