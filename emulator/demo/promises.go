package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// ask sends the kind-447 request; later steps are timed from here.
func (a *act) ask(ctx context.Context, name string, requester *actors.Requester, owner actors.Key, n int) (string, error) {
	a.log.clock("%s asks for %s (kind 447)", name, keyPackages(n))
	request, err := requester.Ask(ctx, actors.Question{Owners: []string{owner.Pubkey}, Min: n})
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	a.log.at(time.Now(), "the relay accepts the request")
	return request, nil
}

// answer is what a requester is to get.
type answer struct {
	keyPackages []*nostr.Event
	lastResort  bool
}

// receive waits for the answer: exactly the wanted KeyPackages and the notice of the outcome. It tells what comes in the
// order in which it came.
func (a *act) receive(ctx context.Context, name string, requester *actors.Requester, request string, want answer) error {
	received, err := requester.AwaitKeyPackages(ctx, len(want.keyPackages))
	arrivals := arrivalsOf(received)
	var outcome actors.Outcome
	if err == nil {
		outcome, err = requester.AwaitOutcome(ctx, request)
		arrivals = append(arrivals, arrival{outcome.At, "is told how the request ended"})
	}
	a.tell(name, arrivals)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := a.compare(received, want.keyPackages); err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	return a.compareOutcome(outcome.Rows, want)
}

type arrival struct {
	at   time.Time
	text string
}

func arrivalsOf(received []actors.KeyPackage) (all []arrival) {
	for _, k := range received {
		all = append(all, arrival{k.At, "receives KeyPackage " + k.Event.ID[:8] + "…"})
	}
	return all
}

func (a *act) tell(name string, arrivals []arrival) {
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return a.at.Compare(b.at) })
	for _, arrival := range arrivals {
		a.log.at(arrival.at, "%s %s", name, arrival.text)
	}
}

// compare compares what was received, and verified then, with what the owner published.
func (a *act) compare(received []actors.KeyPackage, wanted []*nostr.Event) error {
	if len(received) != len(wanted) {
		return fmt.Errorf("received %d events instead of %d", len(received), len(wanted))
	}
	for _, event := range wanted {
		i := slices.IndexFunc(received, func(k actors.KeyPackage) bool { return k.Event.ID == event.ID })
		if i < 0 {
			return fmt.Errorf("did not receive %s, whose turn it was", event.ID)
		}
		if received[i].Raw != event.String() {
			return fmt.Errorf("received other bytes of %s than were published", event.ID)
		}
	}
	if len(wanted) > 1 {
		a.log.saw("they are the oldest %d, all different, byte for byte as published", len(wanted))
	} else {
		a.log.saw("it is the one whose turn it was, byte for byte as published")
	}
	a.log.saw("event id, event signature, MLS signatures and the owner's identity verify")
	return nil
}

func (a *act) compareOutcome(rows []relayapi.OutcomeRow, want answer) error {
	granted := len(want.keyPackages)
	if len(rows) != 1 || rows[0].Granted != granted || rows[0].LastResort != want.lastResort {
		return fmt.Errorf("the outcome should be %d granted, last resort %v, and is %+v", granted, want.lastResort, rows)
	}
	for _, event := range want.keyPackages {
		named := relayapi.Granted{ID: event.ID, LastResort: want.lastResort}
		if len(rows[0].KeyPackages) != granted || !slices.Contains(rows[0].KeyPackages, named) {
			return fmt.Errorf("the outcome should name %s among %d, and is %+v", event.ID, granted, rows)
		}
	}
	if want.lastResort {
		a.log.saw("the outcome says %d granted, as the last resort", granted)
		return nil
	}
	a.log.saw("the outcome says %d of %d granted", granted, rows[0].Requested)
	return nil
}

// stock has the owner come back and compares the stock with what should be left.
func (a *act) stock(ctx context.Context, name string, key actors.Key, left []*nostr.Event) error {
	owner, err := actors.ConnectOwner(ctx, a.system.Relay, key)
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

// awaitDeliveries waits until the request has n deliveries that are all as wanted.
func (s *System) awaitDeliveries(ctx context.Context, requestID string, n int, wanted func(keypackage.Delivery) bool) error {
	changes := s.Firestore.Collection(s.Deliveries).Where("request_event_id", "==", requestID).Snapshots(ctx)
	defer changes.Stop()
	for {
		snapshot, err := changes.Next()
		if err != nil {
			return fmt.Errorf("watch the deliveries of the request: %w", err)
		}
		documents, err := snapshot.Documents.GetAll()
		if err != nil {
			return fmt.Errorf("read the deliveries of the request: %w", err)
		}
		good := 0
		for _, document := range documents {
			var delivery keypackage.Delivery
			if err := document.DataTo(&delivery); err != nil {
				return fmt.Errorf("decode a delivery: %w", err)
			}
			if wanted(delivery) {
				good++
			}
		}
		if len(documents) == n && good == n {
			return nil
		}
	}
}

func delivered(d keypackage.Delivery) bool { return d.State == keypackage.StateDelivered }

// tried is a delivery that was offered to the relay in vain and may be offered again.
func tried(d keypackage.Delivery) bool { return d.State == keypackage.StatePending && d.Attempts > 0 }
