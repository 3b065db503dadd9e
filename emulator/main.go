// Command emulator runs the whole system on one machine, on Google's official emulators.
//
//	go run ./emulator demo         see KeyPackages delivered: the main job and three harder cases
//	go run ./emulator up           start everything on fixed ports and leave it running
//	go run ./emulator soak         run it under load, with faults if wanted, and judge what was promised
//	go run ./emulator deadletters  list what could not be delivered, and try again
//	go run ./emulator stock        show what an owner has in stock, here or in a real project
//	go run ./emulator smoke        try the delivery at a relay from the outside, here or deployed
//	go run ./emulator conformance  check a relay against the contract
//
// It is also the program of the suite's own processes, which is why it has commands that nobody types.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// command is a subcommand. run gets the arguments behind its name; ctx ends with Ctrl-C.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, args []string) error
}

var commands = []command{
	{"demo", "play the main job and three harder cases, and check what was promised", playDemo},
	{"bench", "measure it, next to the unavoidable and to a design that polls", measure},
	{"up", "start everything on fixed ports and leave it running", up},
	{"stock", "show how many KeyPackages an owner has and how many were handed out, per ciphersuite", stock},
	{"soak", "run it under load, with -faults under fire, and judge what was promised", runSoak},
	{"deadletters", "list the messages that could not be delivered, here or in a real project; -replay tries again", handleDeadLetters},
	{"smoke", "try the delivery at a relay from the outside, here or deployed", smokeTest},
	{"conformance", "check a relay, its websocket and its delivery endpoint, against the contract", checkConformance},
	{"relay", "(a process of the suite) serve the reference relay", func(_ context.Context, args []string) error { return runRelay(args) }},
	{"function", "(a process of the suite) serve one function: function <entry point>", function},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) (exitCode int) {
	if len(args) == 0 {
		usage()
		return 2
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:])
		if errors.Is(err, flag.ErrHelp) {
			return 2
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "emulator "+c.name+":", err)
			return 1
		}
		return 0
	}
	usage()
	return 2
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: go run ./emulator <command> [flags]     (-h behind a command shows its flags)")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-11s %s\n", c.name, c.summary)
	}
}
