// Command bench measures the system on the official emulators: how long a request takes and what of that is ours, next to
// the same hops with nothing in them and next to a design that polls; how many claims a second are possible; what stays
// flat when stock, backlog and leftovers grow; what a request costs; how fast a function starts and how much memory it holds.
//
// Everything is measured in one run, because figures of different runs on a shared machine cannot be compared. What is to
// be compared is measured in turns. Sections are files of their own.
//
//	go run ./tests/bench                     everything; -only names sections
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/child"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

func main() {
	child.Serve() // the suite runs its processes from this program
	command.Main("bench", measure)
}

// measure runs the bench and prints its tables. Targets that were missed do not make it fail: the machine may be busy.
func measure(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	opts := Options{Progress: command.Progress}
	flags.BoolVar(&opts.Short, "short", false, "the smallest numbers, to see that it runs; times mean nothing")
	asJSON := flags.Bool("json", false, "print one JSON document instead of tables")
	only := flags.String("only", "", "sections to run, separated by commas: "+strings.Join(SectionIDs(), ","))
	flags.StringVar(&opts.Logs, "logs", "", "existing directory in which the logs of all processes stay")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *only != "" {
		opts.Only = strings.Split(*only, ",")
		for _, id := range opts.Only {
			if !slices.Contains(SectionIDs(), id) {
				return fmt.Errorf("no section is called %q", id)
			}
		}
	}
	result, err := Run(ctx, opts)
	if result == nil {
		return err
	}
	if *asJSON {
		return errors.Join(err, command.PrintJSON(os.Stdout, result))
	}
	result.Print(os.Stdout)
	return err
}
