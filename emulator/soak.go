package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/soak"
)

var errBroken = errors.New("promises were broken")

// runSoak runs a soak and prints what it came to. It fails unless every promise was kept.
func runSoak(ctx context.Context, args []string) error {
	opts := soak.Options{Progress: report}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&opts.Duration, "duration", time.Minute, "how long the load lasts; settling and judging come on top")
	flags.BoolVar(&opts.Faults, "faults", false, "lose, double and break calls, and kill processes")
	flags.Uint64Var(&opts.Seed, "seed", 1, "what people and faults decide comes from it")
	flags.Float64Var(&opts.Rate, "rate", 5, "requests per second")
	flags.IntVar(&opts.Owners, "owners", 8, "how many owners")
	flags.IntVar(&opts.Requesters, "requesters", 16, "how many requesters")
	flags.StringVar(&opts.Logs, "logs", "", "existing directory in which the logs of all processes stay")
	asJSON := flags.Bool("json", false, "print one JSON document instead of the table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	result, err := soak.Run(ctx, opts)
	if err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(os.Stdout, result)
	} else {
		result.Print(os.Stdout)
	}
	if !result.OK {
		err = errors.Join(err, errBroken)
	}
	return err
}
