package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Print writes the entries as a table, one line for each delivery.
func Print(w io.Writer, entries []Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "given up\tattempts\tabout\tdelivery\tstate\tlast result\t")
	for _, e := range entries {
		begin := fmt.Sprintf("%s\t%d\t%s", e.Since.UTC().Format(time.RFC3339), e.Attempts, e.about())
		end := ""
		if e.Replayed {
			end = "replayed"
		}
		if len(e.Deliveries) == 0 {
			fmt.Fprintf(table, "%s\tnone\t\t\t%s\n", begin, end)
		}
		for _, d := range e.Deliveries {
			state := string(d.State)
			if d.Reason != "" {
				state += " (" + d.Reason + ")"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", begin, d.ID, state, d.LastResult, end)
			begin = "\t\t"
		}
	}
	return table.Flush()
}

func (e Entry) about() string {
	switch {
	case e.Unreadable != "":
		return "unreadable: " + e.Unreadable
	case e.Request != "":
		return "request " + e.Request
	}
	return "requester " + e.Requester
}
