package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// stockUp has the owner publish, and go offline.
func (a *act) stockUp(ctx context.Context) error {
	if a.key = actors.NewKey(); a.stocked == 0 {
		return nil
	}
	return a.byOwner(ctx, func(owner *actors.Owner) (err error) {
		if a.published, err = owner.Stockpile(ctx, a.stocked); err == nil {
			a.say("%s publishes %s (kind 443) and goes offline", a.owner, keyPackages(a.stocked))
		}
		return err
	})
}

// connect brings the requesters online until the act is over.
func (a *act) connect(ctx context.Context) error {
	for _, name := range a.requesters {
		r := &requester{actors.NewRequester(a.Relay, actors.NewKey()), name, ""}
		context.AfterFunc(ctx, r.Disconnect)
		a.cast = append(a.cast, r)
	}
	return a.each(func(r *requester) error { return r.Connect(ctx) })
}

func (a *act) listen(ctx context.Context) error {
	return a.each(func(r *requester) error {
		if err := r.Listen(ctx, a.key.Pubkey); err != nil {
			return err
		}
		a.say("%s connects, authenticates (NIP-42) and subscribes", r.name)
		return nil
	})
}

// read is what every Nostr client does: it subscribes to somebody's KeyPackages, and leaves at EOSE.
func (a *act) read(ctx context.Context) error {
	return a.each(func(r *requester) error {
		a.clock("%s reads %s's KeyPackages (REQ, kind 443)", r.name, a.owner)
		everything := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{a.key.Pubkey}}
		if err := r.Subscribe(ctx, "everything", everything); err != nil {
			return err
		}
		end := arrival{time.Now(), "has seen the end of what there is (EOSE), and may leave"}
		nothingMore, stop := context.WithCancelCause(ctx)
		stop(errors.New("EOSE came before any KeyPackage"))
		received, err := r.AwaitKeyPackages(nothingMore, a.wanted)
		if err != nil {
			return err
		}
		a.tell(r.name, received, end)
		return a.compare(received)
	})
}

// ask sends the kind-447 requests; later steps are timed from here.
func (a *act) ask(ctx context.Context) error {
	ask := "asks"
	if len(a.cast) > 1 {
		ask = "each ask"
	}
	a.clock("%s %s for %s (kind 447)", strings.Join(a.requesters, " and "), ask, keyPackages(a.wanted))
	return a.each(func(r *requester) (err error) {
		r.request, err = r.Ask(ctx, actors.Question{Owners: []string{a.key.Pubkey}, Min: a.wanted})
		if err == nil && len(a.cast) == 1 {
			a.at(time.Now(), "the relay accepts the request")
		}
		return err
	})
}

// loseConnection is what happens to phones. The requesters have not subscribed yet: nothing can have reached them.
func (a *act) loseConnection(ctx context.Context) error {
	for _, r := range a.cast {
		r.Disconnect()
		a.say("%s's connection breaks before anything reaches her", r.name)
	}
	return a.awaitDeliveries(ctx, "her %d KeyPackages are set aside and wait for her", func(d store.DeliveryHistory) bool {
		return d.State == keypackage.StatePending && d.Attempts > 0
	})
}

func (a *act) comeBack(ctx context.Context) error {
	return a.each(func(r *requester) error {
		if err := r.Connect(ctx); err != nil {
			return err
		}
		a.clock("%s is back and subscribes to %s's KeyPackages; she does not ask again", r.name, a.owner)
		return r.Listen(ctx, a.key.Pubkey)
	})
}

// receive waits for the answers: exactly the KeyPackages that are due, and the notice of the outcome.
func (a *act) receive(ctx context.Context) error {
	return a.each(func(r *requester) error {
		received, err := r.AwaitKeyPackages(ctx, len(a.due()))
		var outcome actors.Outcome
		if err == nil {
			outcome, err = r.AwaitOutcome(ctx, r.request)
		}
		a.tell(r.name, received, arrival{outcome.At, "is told how the request ended"})
		if err == nil {
			err = a.compare(received)
		}
		if err == nil {
			err = a.compareOutcome(outcome.Rows)
		}
		return err
	})
}

func (a *act) awaitRecord(ctx context.Context) error {
	return a.awaitDeliveries(ctx, "all %d deliveries are recorded as delivered", func(d store.DeliveryHistory) bool {
		return d.State == keypackage.StateDelivered
	})
}

// awaitDeliveries waits until each request has as many deliveries as KeyPackages were wanted, and all are as promised.
func (a *act) awaitDeliveries(ctx context.Context, promise string, kept func(store.DeliveryHistory) bool) error {
	unlike := func(d store.DeliveryHistory) bool { return !kept(d) }
	return a.each(func(r *requester) error {
		for {
			history, err := a.Store.History(ctx, r.request)
			if err != nil {
				return err
			}
			if len(history.Deliveries) == a.wanted && !slices.ContainsFunc(history.Deliveries, unlike) {
				a.saw(promise, a.wanted)
				return nil
			}
			if retry.Pause(ctx, 10*time.Millisecond) != nil {
				return context.Cause(ctx)
			}
		}
	})
}

// compareStock has the owner come back and compares the stock with what should be left.
func (a *act) compareStock(ctx context.Context) error {
	left := a.published
	if !a.reserve() {
		left = left[a.wanted:]
	}
	return a.byOwner(ctx, func(owner *actors.Owner) error {
		stock, err := owner.Stock(ctx)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(stock, left, func(a, b *nostr.Event) bool { return a.ID == b.ID }) {
			return fmt.Errorf("should have the newest %d left, and has %d others", len(left), len(stock))
		}
		a.saw("%s comes back and has %s left, as it should be", a.owner, keyPackages(len(left)))
		return nil
	})
}

// due is what each requester is to get.
func (a *act) due() []*nostr.Event { return a.published[:min(a.wanted, a.stocked)] }

// reserve reports whether the last KeyPackage is wanted: it goes to everybody who asks, and is never used up.
func (a *act) reserve() bool { return a.wanted == a.stocked }

func (a *act) byOwner(ctx context.Context, do func(*actors.Owner) error) error {
	owner, err := actors.ConnectOwner(ctx, a.Relay, a.key)
	if err == nil {
		defer owner.Disconnect()
		err = do(owner)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.owner, err)
	}
	return nil
}

func (a *act) each(do func(*requester) error) error {
	for _, r := range a.cast {
		if err := do(r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// compare compares what was received, and verified then, with what the owner published.
func (a *act) compare(received []actors.KeyPackage) error {
	due := a.due()
	if len(received) != len(due) {
		return fmt.Errorf("received %d events instead of %d", len(received), len(due))
	}
	for _, event := range due {
		if !slices.ContainsFunc(received, func(k actors.KeyPackage) bool { return k.Raw == event.String() }) {
			return fmt.Errorf("did not receive %s, whose turn it was, byte for byte as published", event.ID)
		}
	}
	switch len(due) {
	case 0:
		return nil
	case 1:
		a.saw("it is the one whose turn it was, byte for byte as published")
	default:
		a.saw("they are the oldest %d, all different, byte for byte as published", len(due))
	}
	a.saw("event id, event signature, MLS signatures and the owner's identity verify")
	return nil
}

func (a *act) compareOutcome(rows []relayapi.OutcomeRow) error {
	due := a.due()
	if len(rows) != 1 || rows[0].Granted != len(due) || rows[0].LastResort != a.reserve() || len(rows[0].KeyPackages) != len(due) {
		return fmt.Errorf("the outcome should be %d granted, last resort %v, and is %+v", len(due), a.reserve(), rows)
	}
	for _, event := range due {
		if !slices.Contains(rows[0].KeyPackages, relayapi.Granted{ID: event.ID, LastResort: a.reserve()}) {
			return fmt.Errorf("the outcome should name %s, and is %+v", event.ID, rows)
		}
	}
	switch {
	case len(due) > 0 && a.reserve():
		a.saw("the outcome says %d granted, as the last resort", len(due))
	case len(due) > 0:
		a.saw("the outcome says %d of %d granted", len(due), rows[0].Requested)
	case rows[0].Reason != string(keypackage.StatusNone):
		return fmt.Errorf("the outcome should be that there are none, and is %+v", rows)
	default:
		a.saw("she knows that %s has none, instead of waiting in vain", a.owner)
	}
	return nil
}

func keyPackages(n int) string {
	if n == 1 {
		return "one KeyPackage"
	}
	return fmt.Sprintf("%d KeyPackages", n)
}
