package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// KeyPackage is a kind-443 or kind-30443 event as it reached a requester.
type KeyPackage struct {
	Event *nostr.Event
	Raw   string // the event's bytes as the relay sent them
	At    time.Time
}

// Outcome is the relay's notice of how a request ended.
type Outcome struct {
	RequestID string
	Rows      []relayapi.OutcomeRow
	At        time.Time
}

// inbox is what a requester has received in all its sessions, repetitions included, in the order of arrival.
type inbox struct {
	mu          sync.Mutex
	keyPackages []KeyPackage
	outcomes    []Outcome
	faults      []error
	changed     chan struct{} // closed and replaced at each arrival
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{})} }

func (in *inbox) keyPackage(raw string) {
	at := time.Now() // verifying takes a while
	event, err := verifyKeyPackage(raw)
	in.arrive(func() {
		if err != nil {
			in.faults = append(in.faults, fmt.Errorf("received what does not verify: %w", err))
			return
		}
		in.keyPackages = append(in.keyPackages, KeyPackage{event, raw, at})
	})
}

// outcome takes a notice in, unless it is signed by somebody else than who speaks for the relay.
func (in *inbox) outcome(raw, speaker string) {
	outcome, author, err := readOutcome(raw)
	if err == nil && author != speaker {
		return
	}
	in.arrive(func() {
		if err != nil {
			in.faults = append(in.faults, fmt.Errorf("received a bad outcome: %w", err))
			return
		}
		in.outcomes = append(in.outcomes, outcome)
	})
}

func readOutcome(raw string) (outcome Outcome, author string, err error) {
	event, err := keypackage.VerifyEvent(raw)
	if err != nil {
		return Outcome{}, "", err
	}
	request := event.Tags.Find("e")
	if request == nil {
		return Outcome{}, "", errors.New("it names no request")
	}
	var content relayapi.Outcome
	if err := json.Unmarshal([]byte(event.Content), &content); err != nil {
		return Outcome{}, "", fmt.Errorf("its content: %w", err)
	}
	return Outcome{request[1], content.Rows, time.Now()}, event.PubKey, nil
}

func (in *inbox) arrive(record func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	record()
	close(in.changed)
	in.changed = make(chan struct{})
}

// await returns when enough, which is called with the lock held, is true. It fails as soon as something has arrived that
// does not verify.
func (in *inbox) await(ctx context.Context, enough func() bool) error {
	for {
		in.mu.Lock()
		done, faults, changed := enough(), errors.Join(in.faults...), in.changed
		in.mu.Unlock()
		if done || faults != nil {
			return faults
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (in *inbox) awaitKeyPackages(ctx context.Context, n int) ([]KeyPackage, error) {
	err := in.await(ctx, func() bool { return len(in.keyPackages) >= n })
	in.mu.Lock()
	defer in.mu.Unlock()
	received := slices.Clone(in.keyPackages)
	if err != nil {
		return received, fmt.Errorf("received %d of %d KeyPackages: %w", len(received), n, err)
	}
	return received, nil
}

func (in *inbox) awaitOutcome(ctx context.Context, requestID string) (Outcome, error) {
	var found Outcome
	err := in.await(ctx, func() bool {
		i := slices.IndexFunc(in.outcomes, func(o Outcome) bool { return o.RequestID == requestID })
		if i >= 0 {
			found = in.outcomes[i]
		}
		return i >= 0
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("outcome of the request: %w", err)
	}
	return found, nil
}
