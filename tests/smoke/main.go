// Command smoke tries KeyPackage delivery at a relay from the outside, as two strangers with ordinary clients would: it
// needs the relay's websocket URL and nothing else, so it works on a deployment as on the local suite.
//
//	go run ./tests/smoke -relay wss://relay.example
package main

import (
	"context"
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
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if err := actors.CheckRelayURL(*relay); err != nil {
		return err
	}
	a, err := try(ctx, *relay, *timeout, func(step string) { fmt.Println(step) })
	if err != nil && a.request != "" { // what to look for in the logs
		fmt.Fprintf(os.Stderr, "  request   %s\n  requester %s\n  owner     %s\n", a.request, a.requester.Pubkey, a.owner.Pubkey)
	}
	return err
}
