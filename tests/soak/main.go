// Command soak runs the whole local suite for a while under load, with faults if wanted, and then judges what was promised.
//
//	owners upload, delete and repeat KeyPackages      person.go, owner.go
//	requesters ask, come and go                       requester.go
//	calls are lost, doubled, broken; processes die    chaos.go, crash.go
//	then everything comes to its end                  settle.go
//	and is held against the promises                  judge.go, match.go, leaks.go, report.go
//
// soak.go runs all of it, history.go keeps what happened.
//
// What people and faults decide comes from a seed. When it happens is up to the machine, so the same seed makes a similar
// run, not the same one.
//
//	go run ./tests/soak -duration 1m -faults
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/child"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

func main() {
	child.Serve() // the suite runs its processes from this program
	command.Main("soak", runSoak)
}

var errBroken = errors.New("promises were broken")

// check returns an error unless the options make a run in which something happens: one without requests keeps every promise.
func (o Options) check() error {
	switch {
	case o.Duration <= 0:
		return fmt.Errorf("-duration is %v; it must be above zero", o.Duration)
	case o.Rate <= 0:
		return fmt.Errorf("-rate is %v; it must be above zero", o.Rate)
	case o.Owners <= 0, o.Requesters <= 0:
		return fmt.Errorf("-owners is %d and -requesters %d; there must be one of each", o.Owners, o.Requesters)
	}
	return nil
}

// runSoak runs a soak and prints what it came to. It fails unless every promise was kept.
func runSoak(ctx context.Context, args []string) error {
	opts := Options{Progress: command.Progress}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&opts.Duration, "duration", time.Minute, "how long the load lasts; settling and judging come on top")
	flags.BoolVar(&opts.Faults, "faults", false, "lose, double and break calls, and kill processes")
	flags.Uint64Var(&opts.Seed, "seed", 1, "what people and faults decide comes from it")
	flags.Float64Var(&opts.Rate, "rate", 5, "requests per second")
	flags.IntVar(&opts.Owners, "owners", 8, "how many owners")
	flags.IntVar(&opts.Requesters, "requesters", 16, "how many requesters")
	flags.StringVar((*string)(&opts.ServedBy), "served-by", string(config.ServedByFunctions), "who serves requests: functions or gateway")
	flags.StringVar(&opts.Logs, "logs", "", "existing directory in which the logs of all processes stay")
	asJSON := flags.Bool("json", false, "print one JSON document instead of the table")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if err := opts.check(); err != nil {
		return err
	}
	result, err := Run(ctx, opts)
	if err != nil {
		return err
	}
	if *asJSON {
		err = command.PrintJSON(os.Stdout, result)
	} else {
		result.Print(os.Stdout)
	}
	if !result.OK {
		err = errors.Join(err, errBroken)
	}
	return err
}
