package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/trace"
)

// stock shows what an owner has in stock.
func stock(ctx context.Context, o *options) error {
	key, err := pubkey(o.owner)
	if err != nil {
		return fmt.Errorf("-owner: %w", err)
	}
	holdings, err := o.documents.Holdings(ctx, key, time.Now())
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

// traceRequest shows what became of a request.
func traceRequest(ctx context.Context, o *options) error {
	id, err := eventID(o.word)
	if err != nil {
		return err
	}
	history, err := o.documents.History(ctx, id)
	if err != nil {
		return err
	}
	if o.logs {
		_, err := fmt.Println(trace.Query(id, history))
		return err
	}
	t := trace.New(id, history, time.Now())
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
