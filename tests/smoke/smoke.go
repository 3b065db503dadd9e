package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
)

const (
	// packageLife is the lifetime of the KeyPackage: should it be left behind after all, it ends by itself.
	packageLife = time.Hour
	// outcomePatience is how long the notice of the outcome, which is best effort, is waited for.
	outcomePatience = 3 * time.Second
	// cleanupPatience bounds the deletion at the end, also when everything before took too long.
	cleanupPatience = 10 * time.Second
)

// attempt is a try of two strangers.
type attempt struct {
	relay            string
	owner, requester actors.Key
	request          string        // the event's id, as soon as there is one
	delivery         time.Duration // from the request to the KeyPackage's arrival
	begun            time.Time
	tell             func(step string)
}

// try publishes a KeyPackage of a new owner and a request of a new requester, waits at most timeout for the delivery, and
// has the owner delete the KeyPackage again, whatever happened. Each step is told as it happens. It returns nil if the KeyPackage
// arrived and verifies, and none was left behind.
func try(ctx context.Context, relay string, timeout time.Duration, tell func(step string)) (*attempt, error) {
	a := &attempt{relay: relay, owner: actors.NewKey(), requester: actors.NewKey(), begun: time.Now(), tell: tell}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("gave up after %v", timeout))
	defer cancel()
	published, err := a.meet(bounded, timeout)
	if published != nil {
		err = errors.Join(err, a.cleanUp(ctx, published.ID))
	}
	if err != nil {
		err = actors.ExplainUnreachable(err)
	}
	return a, err
}

// meet returns the KeyPackage that may have been published, also with an error.
func (a *attempt) meet(ctx context.Context, ttl time.Duration) (*nostr.Event, error) {
	published, err := a.publish(ctx)
	if err != nil {
		return published, fmt.Errorf("owner: %w", err)
	}
	requester := actors.NewRequester(a.relay, a.requester)
	if err := requester.Connect(ctx); err != nil {
		return published, fmt.Errorf("requester: %w", err)
	}
	defer requester.Disconnect()
	a.step("the requester is authenticated (NIP-42)")
	if err := requester.Listen(ctx, a.owner.Pubkey); err != nil {
		return published, fmt.Errorf("requester: %w", err)
	}
	a.step("the requester has subscribed to the owner's KeyPackages")
	return published, a.receive(ctx, requester, published, ttl)
}

func (a *attempt) publish(ctx context.Context) (*nostr.Event, error) {
	owner, err := actors.ConnectOwner(ctx, a.relay, a.owner)
	if err != nil {
		return nil, err
	}
	defer owner.Disconnect()
	a.step("the owner is authenticated (NIP-42)")
	event, err := actors.NewKeyPackage(a.owner, a.relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)})
	if err != nil {
		return nil, err
	}
	if err := owner.Publish(ctx, event); err != nil {
		return event, err
	}
	a.step("the relay has the owner's KeyPackage (kind 443), and the owner is gone")
	return event, nil
}

// receive asks for the KeyPackage and waits for it. What arrives has been verified: the event, and the KeyPackage in it.
func (a *attempt) receive(ctx context.Context, requester *actors.Requester, published *nostr.Event, ttl time.Duration) error {
	asked := time.Now()
	request, err := requester.Ask(ctx, actors.Question{Owners: []string{published.PubKey}, TTL: max(ttl, time.Second)})
	a.request = request
	if err != nil {
		return fmt.Errorf("requester: %w", err)
	}
	a.step("the relay has the request (kind 447)")
	received, err := requester.AwaitKeyPackages(ctx, 1)
	if err != nil {
		return fmt.Errorf("requester: %w", err)
	}
	if id := received[0].Event.ID; id != published.ID {
		return fmt.Errorf("requester: received KeyPackage %s, which the owner has not published", id)
	}
	a.delivery = received[0].At.Sub(asked)
	a.step("the KeyPackage has arrived, %d ms after the request; its signatures verify", a.delivery.Milliseconds())
	a.receiveOutcome(ctx, requester)
	return nil
}

// receiveOutcome decides nothing: a relay tells outcomes as well as it can, in a kind of its own choice.
func (a *attempt) receiveOutcome(ctx context.Context, requester *actors.Requester) {
	ctx, cancel := context.WithTimeout(ctx, outcomePatience)
	defer cancel()
	outcome, err := requester.AwaitOutcome(ctx, a.request)
	if err != nil || len(outcome.Rows) == 0 {
		a.step("no outcome was told in the kind of the gateway, which another relay need not use")
		return
	}
	a.step("the outcome was told: %d of %d granted", outcome.Rows[0].Granted, outcome.Rows[0].Requested)
}

func (a *attempt) cleanUp(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupPatience)
	defer cancel()
	owner, err := actors.ConnectOwner(ctx, a.relay, a.owner)
	if err == nil {
		defer owner.Disconnect()
		err = owner.Delete(ctx, id)
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
