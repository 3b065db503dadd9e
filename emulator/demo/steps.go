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

// byOwner has the owner come online and do something. An owner without KeyPackages never does.
func (a *act) byOwner(ctx context.Context, do func(context.Context, *actors.Owner) error) error {
	if a.stocked == 0 {
		return nil
	}
	owner, err := actors.ConnectOwner(ctx, a.Relay, a.key)
	if err == nil {
		defer owner.Disconnect()
		err = do(ctx, owner)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.owner, err)
	}
	return nil
}

func (a *act) stockUp(ctx context.Context, owner *actors.Owner) (err error) {
	if a.published, err = owner.Stockpile(ctx, a.stocked); err == nil {
		a.say("%s publishes %s (kind 443) and goes offline", a.owner, keyPackages(a.stocked))
	}
	return err
}

// compareStock compares the stock with what should be left.
func (a *act) compareStock(ctx context.Context, owner *actors.Owner) error {
	left := a.published
	if !a.reserve() {
		left = left[a.wanted:]
	}
	stock, err := owner.Stock(ctx)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(stock, left, func(a, b *nostr.Event) bool { return a.ID == b.ID }) {
		return fmt.Errorf("should have the newest %d left, and has %d others", len(left), len(stock))
	}
	a.saw("%s comes back and has %s left, as it should be", a.owner, keyPackages(len(left)))
	return nil
}

// due is what each requester is to get.
func (a *act) due() []*nostr.Event { return a.published[:min(a.wanted, a.stocked)] }

// reserve reports whether the last KeyPackage is wanted: it goes to everybody who asks, and is never used up.
func (a *act) reserve() bool { return a.wanted == a.stocked }

// requester is somebody of the cast.
type requester struct {
	*act
	*actors.Requester
	name    string
	request string // its id, once asked
}

func (r *requester) listen(ctx context.Context) error {
	err := r.Listen(ctx, r.key.Pubkey)
	if err == nil {
		r.say("%s connects, authenticates (NIP-42) and subscribes", r.name)
	}
	return err
}

// read is what every Nostr client does: it subscribes to somebody's KeyPackages, and leaves at EOSE.
func (r *requester) read(ctx context.Context) error {
	r.clock("%s reads %s's KeyPackages (REQ, kind 443)", r.name, r.owner)
	everything := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{r.key.Pubkey}}
	if err := r.Subscribe(ctx, "everything", everything); err != nil {
		return err
	}
	end := time.Now()
	nothingMore, stop := context.WithCancelCause(ctx)
	stop(errors.New("EOSE came before any KeyPackage"))
	received, err := r.AwaitKeyPackages(nothingMore, r.wanted)
	if err != nil {
		return err
	}
	r.tell(received, end, "has seen the end of what there is (EOSE), and may leave")
	return r.compare(received)
}

// ask sends the kind-447 request; later steps are timed from the first of the act.
func (r *requester) ask(ctx context.Context) (err error) {
	alone := len(r.cast) == 1
	if alone {
		r.clock("%s asks for %s (kind 447)", r.name, keyPackages(r.wanted))
	} else if r == r.cast[0] {
		r.clock("%s each ask for %s (kind 447)", strings.Join(r.requesters, " and "), keyPackages(r.wanted))
	}
	r.request, err = r.Ask(ctx, actors.Question{Owners: []string{r.key.Pubkey}, Min: r.wanted})
	if err == nil && alone {
		r.at(time.Now(), "the relay accepts the request")
	}
	return err
}

// loseConnection is what happens to phones. The requester has not subscribed yet: nothing can have reached her.
func (r *requester) loseConnection(ctx context.Context) error {
	r.Disconnect()
	r.say("%s's connection breaks before anything reaches her", r.name)
	return r.awaitDeliveries(ctx, "her %d KeyPackages are set aside and wait for her", func(d store.DeliveryHistory) bool {
		return d.State != keypackage.StatePending || d.Attempts == 0
	})
}

func (r *requester) comeBack(ctx context.Context) error {
	r.clock("%s is back and subscribes to %s's KeyPackages; she does not ask again", r.name, r.owner)
	return r.Listen(ctx, r.key.Pubkey)
}

// receive waits for the answer: exactly the KeyPackages that are due, and the notice of the outcome.
func (r *requester) receive(ctx context.Context) error {
	received, err := r.AwaitKeyPackages(ctx, len(r.due()))
	var outcome actors.Outcome
	if err == nil {
		outcome, err = r.AwaitOutcome(ctx, r.request)
	}
	r.tell(received, outcome.At, "is told how the request ended")
	if err == nil && r.stocked > 0 {
		err = r.compare(received)
	}
	if err == nil {
		err = r.compareOutcome(outcome.Rows)
	}
	return err
}

func (r *requester) awaitRecord(ctx context.Context) error {
	return r.awaitDeliveries(ctx, "all %d deliveries are recorded as delivered", func(d store.DeliveryHistory) bool {
		return d.State != keypackage.StateDelivered
	})
}

// awaitDeliveries waits until the request has as many deliveries as KeyPackages were wanted, and none lacks what is promised.
func (r *requester) awaitDeliveries(ctx context.Context, promise string, lacks func(store.DeliveryHistory) bool) error {
	for {
		history, err := r.Store.History(ctx, r.request)
		if err != nil {
			return err
		}
		if len(history.Deliveries) == r.wanted && !slices.ContainsFunc(history.Deliveries, lacks) {
			r.saw(promise, r.wanted)
			return nil
		}
		if retry.Pause(ctx, 10*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
}

// tell tells what was received, and what came beside it, if it did, in the order in which it came.
func (r *requester) tell(received []actors.KeyPackage, at time.Time, what string) {
	for _, k := range append(received, actors.KeyPackage{At: time.Now()}) {
		if !at.IsZero() && at.Before(k.At) {
			r.at(at, "%s %s", r.name, what)
			at = time.Time{}
		}
		if k.Event != nil {
			r.at(k.At, "%s receives KeyPackage %s…", r.name, k.Event.ID[:8])
		}
	}
}

// compare compares what was received, and verified then, with what the owner published.
func (r *requester) compare(received []actors.KeyPackage) error {
	due := r.due()
	if len(received) != len(due) {
		return fmt.Errorf("received %d events instead of %d", len(received), len(due))
	}
	for _, event := range due {
		if !slices.ContainsFunc(received, func(k actors.KeyPackage) bool { return k.Raw == event.String() }) {
			return fmt.Errorf("did not receive %s, whose turn it was, byte for byte as published", event.ID)
		}
	}
	what := "it is the one whose turn it was"
	if len(due) > 1 {
		what = fmt.Sprintf("they are the oldest %d, all different", len(due))
	}
	r.saw("%s, byte for byte as published", what)
	r.saw("event id, event signature, MLS signatures and the owner's identity verify")
	return nil
}

func (r *requester) compareOutcome(rows []relayapi.OutcomeRow) error {
	var named []relayapi.Granted
	for _, event := range r.due() {
		named = append(named, relayapi.Granted{ID: event.ID, LastResort: r.reserve()})
	}
	granted := len(named)
	if len(rows) != 1 || rows[0].Granted != granted || rows[0].LastResort != r.reserve() || !slices.Equal(rows[0].KeyPackages, named) {
		return fmt.Errorf("the outcome should be %d granted, %+v, and is %+v", granted, named, rows)
	}
	switch {
	case r.reserve():
		r.saw("the outcome says %d granted, as the last resort", granted)
	case granted > 0:
		r.saw("the outcome says %d of %d granted", granted, rows[0].Requested)
	case rows[0].Reason != string(keypackage.StatusNone):
		return fmt.Errorf("the outcome should be that there are none, and is %+v", rows)
	default:
		r.saw("she knows that %s has none, instead of waiting in vain", r.owner)
	}
	return nil
}

func keyPackages(n int) string {
	if n == 1 {
		return "one KeyPackage"
	}
	return fmt.Sprintf("%d KeyPackages", n)
}
