package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/bench"
)

// measure runs the bench and prints its tables. Targets that were missed do not make it fail: the machine may be busy.
func measure(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	opts := bench.Options{Progress: report}
	flags.BoolVar(&opts.Short, "short", false, "the smallest numbers, to see that it runs; times mean nothing")
	asJSON := flags.Bool("json", false, "print one JSON document instead of tables")
	only := flags.String("only", "", "sections to run, separated by commas: "+strings.Join(bench.SectionIDs(), ","))
	flags.StringVar(&opts.Logs, "logs", "", "existing directory in which the logs of all processes stay")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" {
		opts.Only = strings.Split(*only, ",")
		for _, id := range opts.Only {
			if !slices.Contains(bench.SectionIDs(), id) {
				return fmt.Errorf("no section is called %q", id)
			}
		}
	}
	result, err := bench.Run(ctx, opts)
	if result == nil {
		return err
	}
	if *asJSON {
		return errors.Join(err, printJSON(os.Stdout, result))
	}
	result.Print(os.Stdout)
	return err
}
