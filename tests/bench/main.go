// Command bench measures the system on the official emulators, next to the least that its promises need and to a
// design that polls.
//
// Everything is measured in one run, because figures of different runs on a shared machine cannot be compared; what is to
// be compared is measured in turns. Between Firestore's clients and the emulator lies a wire whose round-trip time is
// chosen: none shows what the machine takes, 8 ms what calls in a row cost in a region.
//
//	section     files                                  what it measures
//	path        path.go system.go stamps.go least.go   from a request's frame to the package's frame, by the functions and by
//	                                                   the gateway; beside it the least possible and the design that polls
//	claims      claims.go                              claims a second, one hot owner at many instances
//	load        load.go                                requests at a rate, up to where it cannot be kept
//	cost        cost.go bill.go promises.go meter.go   what Firestore charges for a request, and why
//	growth      growth.go                              what a large stock changes
//	start       start.go                               start, memory and CPU of the functions
//
// bench.go runs them, wire.go is the wire, database.go what they measure on, sizes.go how much, report.go and plot.go show it.
// What the parts that only calculate take is measured by go test -bench.
//
//	go run ./tests/bench                     everything, in less than eight minutes; -only names sections
package main

import (
	"context"
	"flag"
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/child"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

func main() {
	child.Serve() // the suite runs its processes from this program
	command.Main("bench", measure)
}

// measure runs the bench and prints its tables. Targets that were missed do not make it fail: the machine may be busy.
func measure(ctx context.Context, args []string) error {
	flags, o := flag.NewFlagSet("bench", flag.ContinueOnError), options{}
	flags.BoolVar(&o.short, "short", false, "the smallest numbers, to see that it runs; times mean nothing")
	flags.StringVar(&o.only, "only", sectionIDs(), "sections to run, separated by commas")
	flags.StringVar(&o.logs, "logs", "", "existing directory in which the logs of all processes stay")
	pictures := flags.String("plot", "", "existing directory into which pictures of the figures are drawn, as SVG")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	report, err := run(ctx, o)
	if report == nil {
		return err
	}
	report.print(os.Stdout)
	if err != nil || *pictures == "" {
		return err
	}
	return report.draw(*pictures)
}
