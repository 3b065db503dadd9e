// Command soak runs the whole local suite for a while under load, with faults if wanted, and then judges what was promised.
//
//	owners upload, delete and repeat KeyPackages      people.go
//	requesters ask, come and go                       people.go
//	calls are lost, doubled, broken; processes die    faults.go
//	then everything comes to its end                  soak.go, which runs all of it
//	and is held against the promises                  judge.go, report.go
//
// history.go keeps what happened.
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
	"math"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

func main() {
	suite.Serve() // the suite runs its processes from this program
	command.Main("soak", runSoak)
}

// check returns an error unless the options make a run in which something happens: one without requests keeps every promise.
func (o Options) check() error {
	switch {
	case o.Duration <= 0:
		return fmt.Errorf("-duration is %v; it must be above zero", o.Duration)
	case !(o.Rate > 0) || math.IsInf(o.Rate, 0): // NaN is not above zero either
		return fmt.Errorf("-rate is %v; it must be a number above zero", o.Rate)
	}
	return nil
}

// runSoak runs a soak and prints what it came to. It fails unless every promise was kept.
func runSoak(ctx context.Context, args []string) error {
	// A lost message is repeated in the life of its delivery.
	opts := Options{Life: time.Minute, CrashEvery: 7 * time.Second, Progress: command.Progress}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&opts.Duration, "duration", time.Minute, "how long the load lasts; settling and judging come on top")
	flags.BoolVar(&opts.Faults, "faults", false, "lose, double and break calls, and kill processes")
	flags.Uint64Var(&opts.Seed, "seed", 1, "what people and faults decide comes from it")
	flags.Float64Var(&opts.Rate, "rate", 5, "requests per second")
	flags.StringVar((*string)(&opts.ServedBy), "served-by", string(config.ServedByFunctions), "who serves requests: functions or gateway")
	flags.StringVar(&opts.Logs, "logs", "", "existing directory in which the logs of all processes stay")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if err := opts.check(); err != nil {
		return err
	}
	report, err := Run(ctx, opts)
	if err != nil {
		return err
	}
	report.Print(os.Stdout)
	switch {
	case report.Requests == 0:
		return errors.New("there was no request, so nothing was seen")
	case !report.OK():
		return errors.New("promises were broken")
	}
	return nil
}
