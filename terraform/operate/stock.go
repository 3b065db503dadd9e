package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// stock prints what an owner has in stock.
func stock(ctx context.Context, args []string) error {
	o := newOptions("stock")
	owner := o.String("owner", "", "public `key` of the owner, hex or npub1")
	if err := command.Parse(o.FlagSet, args); err != nil {
		return err
	}
	key, err := pubkey(*owner)
	if err != nil {
		return fmt.Errorf("-owner: %w", err)
	}
	documents, err := o.documents(ctx)
	if err != nil {
		return err
	}
	holdings, err := documents.Holdings(ctx, key, time.Now())
	if err != nil {
		return err
	}
	return o.show(holdings, func(w io.Writer) error { return printHoldings(w, holdings) })
}

func printHoldings(w io.Writer, holdings []keypackage.Holding) error {
	if len(holdings) == 0 {
		_, err := fmt.Fprintln(w, "nothing in stock, and nothing handed out that is still remembered")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ciphersuite\tone-time\treserve\thanded out\tshared\tunusable")
	for _, h := range holdings {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\n", cmp.Or(h.Suite, "unreadable"), h.OneTime, h.Reserve, h.HandedOut, h.Shared, reasons(h.Unusable))
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
