// Command smoke tries KeyPackage delivery at a relay from the outside, as two strangers with ordinary clients would: it
// needs the relay's websocket URL and nothing else, so it works on a deployment as on the local suite.
//
//	go run ./tests/smoke -relay wss://relay.example
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

func main() { command.Main("smoke", smokeTest) }

// smokeTest tries the delivery at a relay from the outside. It fails unless the KeyPackage arrived and verifies.
func smokeTest(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	relay := flags.String("relay", "ws://127.0.0.1:7447", "websocket `URL` of the relay; the default is that of `up`")
	timeout := flags.Duration("timeout", time.Minute, "how long the delivery may take; the first one in the cloud starts two functions")
	asJSON := flags.Bool("json", false, "print one JSON document on standard output, and the steps on standard error")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if err := actors.CheckRelayURL(*relay); err != nil {
		return err
	}
	story := os.Stdout
	if *asJSON {
		story = os.Stderr
	}
	result := Run(ctx, *relay, *timeout, func(s Step) { fmt.Fprintf(story, "%10.1f ms  %s\n", s.Millis, s.Text) })
	if *asJSON {
		if err := command.PrintJSON(os.Stdout, result); err != nil {
			return err
		}
	}
	if result.OK {
		return nil
	}
	if result.Request != "" { // what to look for in the logs
		fmt.Fprintf(os.Stderr, "  request   %s\n  requester %s\n  owner     %s\n", result.Request, result.Requester, result.Owner)
	}
	return errors.New(result.Error)
}
