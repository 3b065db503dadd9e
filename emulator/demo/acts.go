package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ordinaryClient shows what every Nostr client does: it subscribes to somebody's KeyPackages, and leaves at EOSE.
func ordinaryClient(ctx context.Context, a *act) error {
	const stocked = 3
	bob, published, err := a.owner(ctx, "Bob", stocked)
	if err != nil {
		return err
	}
	alice := actors.NewRequester(a.system.Relay, actors.NewKey())
	if err := alice.Connect(ctx); err != nil {
		return err
	}
	defer alice.Disconnect()
	a.log.clock("Alice reads Bob's KeyPackages (REQ, kind 443)")
	everything := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{bob.Pubkey}}
	if err := alice.Subscribe(ctx, "bob", everything); err != nil {
		return err
	}
	end := arrival{time.Now(), "has seen the end of what there is (EOSE), and may leave"}
	nothingMore, stop := context.WithCancelCause(ctx)
	stop(errors.New("EOSE came before any KeyPackage"))
	received, err := alice.AwaitKeyPackages(nothingMore, 1)
	if err != nil {
		return err
	}
	a.tell("Alice", append(arrivalsOf(received[:1]), end))
	if err := a.compare(received, published[:1]); err != nil {
		return fmt.Errorf("%s %w", "Alice", err)
	}
	return a.stock(ctx, "Bob", bob, published[1:])
}

// whileOwnerIsOffline is the main job: what MLS was made for.
func whileOwnerIsOffline(ctx context.Context, a *act) error {
	const stocked, wanted = 5, 3
	bob, published, err := a.owner(ctx, "Bob", stocked)
	if err != nil {
		return err
	}
	alice, err := a.requester(ctx, "Alice", bob)
	if err != nil {
		return err
	}
	defer alice.Disconnect()
	request, err := a.ask(ctx, "Alice", alice, bob, wanted)
	if err != nil {
		return err
	}
	if err := a.receive(ctx, "Alice", alice, request, answer{published[:wanted], false}); err != nil {
		return err
	}
	if err := a.system.awaitDeliveries(ctx, request, wanted, delivered); err != nil {
		return err
	}
	a.log.saw("all %d deliveries are recorded as delivered", wanted)
	return a.stock(ctx, "Bob", bob, published[wanted:])
}

// whileRequesterIsOffline shows that a delivery waits for a requester whose phone has lost its network.
func whileRequesterIsOffline(ctx context.Context, a *act) error {
	const stocked, wanted = 3, 2
	carol, published, err := a.owner(ctx, "Carol", stocked)
	if err != nil {
		return err
	}
	alice := actors.NewRequester(a.system.Relay, actors.NewKey())
	if err := alice.Connect(ctx); err != nil {
		return err
	}
	defer alice.Disconnect()
	request, err := a.ask(ctx, "Alice", alice, carol, wanted)
	if err != nil {
		return err
	}
	alice.Disconnect()
	a.log.say("Alice's connection breaks before anything reaches her")
	if err := a.system.awaitDeliveries(ctx, request, wanted, tried); err != nil {
		return err
	}
	a.log.saw("her %d KeyPackages are set aside and wait for her", wanted)

	if err := alice.Connect(ctx); err != nil {
		return err
	}
	a.log.clock("Alice is back and subscribes to Carol's KeyPackages; she does not ask again")
	if err := alice.Listen(ctx, carol.Pubkey); err != nil {
		return err
	}
	if err := a.receive(ctx, "Alice", alice, request, answer{published[:wanted], false}); err != nil {
		return err
	}
	return a.stock(ctx, "Carol", carol, published[wanted:])
}

// lastKeyPackage shows the reserve: it goes to everybody who asks, and is never used up.
func lastKeyPackage(ctx context.Context, a *act) error {
	dave, published, err := a.owner(ctx, "Dave", 1)
	if err != nil {
		return err
	}
	names := []string{"Frank", "Grace"}
	strangers, requests := make([]*actors.Requester, len(names)), make([]string, len(names))
	for i, name := range names {
		if strangers[i], err = a.requester(ctx, name, dave); err != nil {
			return err
		}
		defer strangers[i].Disconnect()
	}
	a.log.clock("Frank and Grace each ask for one KeyPackage (kind 447)")
	for i, stranger := range strangers {
		if requests[i], err = stranger.Ask(ctx, actors.Question{Owners: []string{dave.Pubkey}}); err != nil {
			return err
		}
	}
	for i, name := range names {
		if err := a.receive(ctx, name, strangers[i], requests[i], answer{published, true}); err != nil {
			return err
		}
	}
	return a.stock(ctx, "Dave", dave, published)
}

// noKeyPackage shows that "nothing" is an answer, and a quick one.
func noKeyPackage(ctx context.Context, a *act) error {
	erin := actors.NewKey()
	alice, err := a.requester(ctx, "Alice", erin)
	if err != nil {
		return err
	}
	defer alice.Disconnect()
	request, err := a.ask(ctx, "Alice", alice, erin, 1)
	if err != nil {
		return err
	}
	outcome, err := alice.AwaitOutcome(ctx, request)
	if err != nil {
		return err
	}
	a.log.at(outcome.At, "Alice is told how the request ended")
	if rows := outcome.Rows; len(rows) != 1 || rows[0].Granted != 0 || rows[0].Reason != string(keypackage.StatusNone) {
		return fmt.Errorf("the outcome should be that there are none, and is %+v", rows)
	}
	a.log.saw("she knows that Erin has none, instead of waiting in vain")
	return nil
}

// owner stocks an owner up, who then goes offline.
func (a *act) owner(ctx context.Context, name string, n int) (actors.Key, []*nostr.Event, error) {
	owner, err := actors.ConnectOwner(ctx, a.system.Relay, actors.NewKey())
	if err != nil {
		return actors.Key{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	defer owner.Disconnect()
	published, err := owner.Stockpile(ctx, n)
	if err != nil {
		return actors.Key{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	a.log.say("%s publishes %s (kind 443) and goes offline", name, keyPackages(n))
	return owner.Key, published, nil
}

// requester brings a requester online who listens to the owner's KeyPackages.
func (a *act) requester(ctx context.Context, name string, owner actors.Key) (*actors.Requester, error) {
	requester := actors.NewRequester(a.system.Relay, actors.NewKey())
	if err := requester.Connect(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := requester.Listen(ctx, owner.Pubkey); err != nil {
		requester.Disconnect()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a.log.say("%s connects, authenticates (NIP-42) and subscribes", name)
	return requester, nil
}

func keyPackages(n int) string {
	if n == 1 {
		return "one KeyPackage"
	}
	return fmt.Sprintf("%d KeyPackages", n)
}
