package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// stock prints what an owner has in stock. It takes its settings from the environment, as the functions do, and so looks at
// the local suite or at a real project, whichever the environment names.
func stock(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("stock", flag.ContinueOnError)
	owner := flags.String("owner", "", "public `key` of the owner, hex or npub1")
	project := projectFlag(flags)
	asJSON := flags.Bool("json", false, "print JSON")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	key, err := pubkey(*owner)
	if err != nil {
		return fmt.Errorf("-owner: %w", err)
	}
	settings, err := load(*project)
	if err != nil {
		return err
	}
	documents, err := assembly.Store(ctx, settings)
	if err != nil {
		return err
	}
	holdings, err := documents.Holdings(ctx, key, time.Now())
	if err != nil {
		return err
	}
	if *asJSON {
		return command.PrintJSON(os.Stdout, holdings)
	}
	return printHoldings(os.Stdout, holdings)
}

func printHoldings(w io.Writer, holdings []keypackage.Holding) error {
	if len(holdings) == 0 {
		_, err := fmt.Fprintln(w, "nothing in stock, and nothing handed out that is still remembered")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ciphersuite\tone-time\treserve\thanded out\tshared\tunusable")
	for _, h := range holdings {
		suite := h.Suite
		if suite == "" {
			suite = "unreadable"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\n", suite, h.OneTime, h.Reserve, h.HandedOut, h.Shared, reasons(h.Unusable))
	}
	return table.Flush()
}

func reasons(counts map[string]int) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return strings.Join(list, ", ")
}
