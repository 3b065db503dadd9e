package main

import (
	"cmp"
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
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/trace"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

func stock(ctx context.Context, o *options) error {
	holdings, err := o.documents.Holdings(ctx, o.owner, time.Now())
	if err != nil {
		return err
	}
	return o.show(holdings, func(w io.Writer) {
		if len(holdings) == 0 {
			fmt.Fprintln(w, "nothing in stock, and nothing handed out that is still remembered")
			return
		}
		fmt.Fprintln(w, "ciphersuite\tone-time\treserve\thanded out\tshared\tunusable")
		for _, h := range holdings {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n",
				cmp.Or(h.Suite, "unreadable"), h.OneTime, h.Reserve, h.HandedOut, h.Shared, reasons(h.Unusable))
		}
	})
}

func reasons(counts map[string]int) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return strings.Join(list, ", ")
}

func traceRequest(ctx context.Context, o *options) error {
	history, err := o.documents.History(ctx, o.word)
	if err != nil {
		return err
	}
	if o.logs {
		_, err := fmt.Println(trace.Query(o.word, history))
		return err
	}
	t := trace.New(o.word, history, time.Now())
	return o.show(t, func(w io.Writer) { _ = t.Print(w) })
}

// mode turns the switch that makes the mode of all running processes more careful than their setting, or shows it.
func mode(ctx context.Context, o *options) error {
	said, err := turn(ctx, o.documents, o.word)
	if err != nil {
		return err
	}
	set, _, err := o.documents.Mode(ctx)
	if err != nil {
		return err
	}
	return o.show(map[string]string{"mode": set}, func(w io.Writer) { fmt.Fprintln(w, said) })
}

func turn(ctx context.Context, documents *store.Store, word string) (said string, err error) {
	const soon = "; every process knows within 10 s"
	switch word {
	case "clear":
		return "the mode is what ROLLOUT_MODE says" + soon, documents.ClearMode(ctx)
	case string(keypackage.ModeOff), string(keypackage.ModeObserve):
		return "the mode is " + word + ", unless ROLLOUT_MODE is more careful" + soon, documents.SetMode(ctx, keypackage.Mode(word))
	case "show":
		set, exists, err := documents.Mode(ctx)
		if !exists {
			return "the switch is not set: the mode is what ROLLOUT_MODE says", err
		}
		return fmt.Sprintf("the switch is set to %q", set), err
	}
	return "", fmt.Errorf("the mode can be off, observe or clear, or one can show it; not %q", word)
}

func importStock(ctx context.Context, o *options) error {
	var into publishing.Store = o.documents
	taken := "taken in, as shared"
	if o.dryRun {
		into, taken = importing.DryRun{Store: into}, "at most would be taken in, as shared"
	}
	report, err := importing.Run(ctx, assembly.Publisher(o.settings, into).KeyPackage, o.wanted)
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
	command.Progress(fmt.Sprintf("%d events, back to %s: %d new, %d duplicate, %d refused",
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
