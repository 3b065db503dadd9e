package demo

import (
	"context"
	"fmt"
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

// ask sends the kind-447 request; later steps are timed from here.
func (a *act) ask(ctx context.Context, name string, requester *actors.Requester, owner actors.Key, n int) (string, error) {
	a.log.clock("%s asks for %s (kind 447)", name, keyPackages(n))
	return requester.Ask(ctx, actors.Question{Owners: []string{owner.Pubkey}, Min: n})
}

// receive waits for exactly the wanted KeyPackages. The actors have verified what they received; here it is compared
// with what the owner published.
func (a *act) receive(ctx context.Context, name string, requester *actors.Requester, wanted []*nostr.Event) error {
	var received []actors.KeyPackage
	for i := range wanted {
		var err error
		if received, err = requester.AwaitKeyPackages(ctx, i+1); err != nil {
			return fmt.Errorf("%s holds %w", name, err)
		}
		a.log.at(received[i].At, "%s receives KeyPackage %s…", name, received[i].Event.ID[:8])
	}
	if len(received) != len(wanted) {
		return fmt.Errorf("%s received %d events instead of %d", name, len(received), len(wanted))
	}
	for _, event := range wanted {
		if !slices.ContainsFunc(received, func(k actors.KeyPackage) bool { return k.Event.ID == event.ID }) {
			return fmt.Errorf("%s did not receive %s, whose turn it was", name, event.ID)
		}
	}
	if len(wanted) == 1 {
		a.log.saw("it verifies: event id, event signature, MLS signatures, and its owner's identity")
		return nil
	}
	a.log.saw("they are different and all verify: event id, event signature, MLS signatures, and their owner's identity")
	a.log.saw("they are the oldest %d", len(wanted))
	return nil
}

// outcome waits for the relay's notice and compares it with what was granted.
func (a *act) outcome(
	ctx context.Context, name string, requester *actors.Requester, request string, granted int, lastResort bool,
) error {
	outcome, err := requester.AwaitOutcome(ctx, request)
	if err != nil {
		return err
	}
	a.log.at(outcome.At, "the relay tells %s how the request ended", name)
	if len(outcome.Rows) != 1 || outcome.Rows[0].Granted != granted || outcome.Rows[0].LastResort != lastResort {
		return fmt.Errorf("the outcome should be %d granted, last resort %v, and is %+v", granted, lastResort, outcome.Rows)
	}
	if lastResort {
		a.log.saw("%d granted, marked as last resort", granted)
		return nil
	}
	a.log.saw("%d of %d granted", granted, outcome.Rows[0].Requested)
	return nil
}

// stock has the owner come back and compares the stock with what should be left.
func (a *act) stock(ctx context.Context, name string, key actors.Key, left []*nostr.Event) error {
	owner, err := actors.ConnectOwner(ctx, a.stage.Relay, key)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer owner.Disconnect()
	stock, err := owner.Stock(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	same := func(a, b *nostr.Event) bool { return a.ID == b.ID }
	if !slices.EqualFunc(stock, left, same) {
		return fmt.Errorf("%s should have the newest %d left, and has %d others", name, len(left), len(stock))
	}
	a.log.saw("%s comes back and has %s left, as it should be", name, keyPackages(len(left)))
	return nil
}
