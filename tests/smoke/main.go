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

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
)

const (
	packageLife     = time.Hour        // of the KeyPackage: should it be left behind after all, it ends by itself
	outcomePatience = 3 * time.Second  // with the notice of the outcome, which is best effort
	cleanupPatience = 10 * time.Second // with the deletion at the end, also when everything before took too long
)

func main() { command.Main("smoke", smokeTest) }

// smokeTest fails unless the KeyPackage arrived and verifies.
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

// attempt is a try of two strangers.
type attempt struct {
	relay            string
	owner, requester actors.Key
	published        string        // the KeyPackage's id, once it may have been published
	request          string        // the event's id, as soon as there is one
	delivery         time.Duration // from the request to the KeyPackage's arrival
	begun            time.Time
	tell             func(step string)
}

// try publishes a KeyPackage and a request, waits at most timeout for the delivery, and has the owner delete the KeyPackage again,
// whatever happened. Each step is told. It returns nil if the KeyPackage arrived and verifies, and none was left behind.
func try(ctx context.Context, relay string, timeout time.Duration, tell func(step string)) (*attempt, error) {
	a := &attempt{relay: relay, owner: actors.NewKey(), requester: actors.NewKey(), begun: time.Now(), tell: tell}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("gave up after %v", timeout))
	defer cancel()
	err := a.publish(bounded)
	if err != nil {
		err = fmt.Errorf("owner: %w", err)
	} else if err = a.receive(bounded, timeout); err != nil {
		err = fmt.Errorf("requester: %w", err)
	}
	return a, actors.ExplainUnreachable(errors.Join(err, a.cleanUp(ctx)))
}

func (a *attempt) publish(ctx context.Context) error {
	owner, err := actors.ConnectOwner(ctx, a.relay, a.owner)
	if err != nil {
		return err
	}
	defer owner.Disconnect()
	a.step("the owner is authenticated (NIP-42)")
	event, err := actors.NewKeyPackage(a.owner, a.relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)})
	if err != nil {
		return err
	}
	a.published = event.ID
	if err := owner.Publish(ctx, event); err != nil {
		return err
	}
	a.step("the relay has the owner's KeyPackage (kind 443), and the owner is gone")
	return nil
}

// receive asks for the KeyPackage and waits for it. What arrives has been verified: the event, and the KeyPackage in it.
func (a *attempt) receive(ctx context.Context, ttl time.Duration) error {
	requester := actors.NewRequester(a.relay, a.requester)
	if err := requester.Connect(ctx); err != nil {
		return err
	}
	defer requester.Disconnect()
	a.step("the requester is authenticated (NIP-42)")
	if err := requester.Listen(ctx, a.owner.Pubkey); err != nil {
		return err
	}
	a.step("the requester has subscribed to the owner's KeyPackages")
	asked := time.Now()
	var err error
	a.request, err = requester.Ask(ctx, actors.Question{Owners: []string{a.owner.Pubkey}, TTL: max(ttl, time.Second)})
	if err != nil {
		return err
	}
	a.step("the relay has the request (kind 447)")
	received, err := requester.AwaitKeyPackages(ctx, 1)
	if err != nil {
		return err
	}
	if id := received[0].Event.ID; id != a.published {
		return fmt.Errorf("received KeyPackage %s, which the owner has not published", id)
	}
	a.delivery = received[0].At.Sub(asked)
	a.step("the KeyPackage has arrived, %d ms after the request; its signatures verify", a.delivery.Milliseconds())
	ctx, cancel := context.WithTimeout(ctx, outcomePatience)
	defer cancel()
	if outcome, err := requester.AwaitOutcome(ctx, a.request); err == nil && len(outcome.Rows) > 0 {
		a.step("the outcome was told: %d of %d granted", outcome.Rows[0].Granted, outcome.Rows[0].Requested)
	} else { // decides nothing: it is told as well as the relay can, in a kind of its own choice
		a.step("no outcome was told in the kind of the gateway, which another relay need not use")
	}
	return nil
}

func (a *attempt) cleanUp(ctx context.Context) error {
	if a.published == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupPatience)
	defer cancel()
	owner, err := actors.ConnectOwner(ctx, a.relay, a.owner)
	if err == nil {
		defer owner.Disconnect()
		err = owner.Delete(ctx, a.published)
	}
	if err != nil {
		return fmt.Errorf("delete the KeyPackage, which ends by itself within %v: %w", packageLife, err)
	}
	a.step("the owner has deleted what was left (kind 5)")
	return nil
}

func (a *attempt) step(format string, args ...any) {
	a.tell(fmt.Sprintf("%7d ms  ", time.Since(a.begun).Milliseconds()) + fmt.Sprintf(format, args...))
}
