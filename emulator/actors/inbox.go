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
	outcomes    map[string]Outcome // by request
	faults      error
	changed     chan struct{} // closed and replaced at each arrival
}

func newInbox() *inbox { return &inbox{outcomes: map[string]Outcome{}, changed: make(chan struct{})} }

func (in *inbox) keyPackage(raw string) {
	at := time.Now() // verifying takes a while
	event, err := verifyKeyPackage(raw)
	in.arrive(err, func() { in.keyPackages = append(in.keyPackages, KeyPackage{event, raw, at}) })
}

// outcome takes a notice in, unless it is signed by somebody else than who speaks for the relay.
func (in *inbox) outcome(raw, speaker string) {
	outcome, author, err := readOutcome(raw)
	if err == nil && author != speaker {
		return
	}
	in.arrive(err, func() {
		if _, told := in.outcomes[outcome.RequestID]; !told {
			in.outcomes[outcome.RequestID] = outcome
		}
	})
}

func readOutcome(raw string) (outcome Outcome, author string, err error) {
	event, err := keypackage.VerifyEvent(raw)
	if err != nil {
		return Outcome{}, "", fmt.Errorf("outcome: %w", err)
	}
	request := event.Tags.Find("e")
	if request == nil {
		return Outcome{}, "", errors.New("outcome: it names no request")
	}
	var content relayapi.Outcome
	if err := json.Unmarshal([]byte(event.Content), &content); err != nil {
		return Outcome{}, "", fmt.Errorf("outcome: its content: %w", err)
	}
	return Outcome{request[1], content.Rows, time.Now()}, event.PubKey, nil
}

// arrive records what has arrived, or that it is bad.
func (in *inbox) arrive(err error, record func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.faults = errors.Join(in.faults, fmt.Errorf("received what does not verify: %w", err))
	} else {
		record()
	}
	close(in.changed)
	in.changed = make(chan struct{})
}

// await returns when enough, which is called with the lock held, is true. It fails as soon as something has arrived that
// does not verify.
func (in *inbox) await(ctx context.Context, enough func() bool) error {
	for {
		in.mu.Lock()
		done, faults, changed := enough(), in.faults, in.changed
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

// AwaitKeyPackages waits until at least n have been received, since the requester exists, and returns all received so far
// in order of arrival, also with an error. Each has been verified: what does not verify is an error.
func (r *Requester) AwaitKeyPackages(ctx context.Context, n int) (received []KeyPackage, err error) {
	err = r.inbox.await(ctx, func() bool {
		received = slices.Clone(r.inbox.keyPackages)
		return len(received) >= n
	})
	if err != nil {
		err = fmt.Errorf("received %d of %d KeyPackages: %w", len(received), n, err)
	}
	return received, err
}

// AwaitOutcome waits for the notice of how the request ended.
func (r *Requester) AwaitOutcome(ctx context.Context, requestID string) (outcome Outcome, err error) {
	err = r.inbox.await(ctx, func() (told bool) {
		outcome, told = r.inbox.outcomes[requestID]
		return told
	})
	if err != nil {
		err = fmt.Errorf("outcome of the request: %w", err)
	}
	return outcome, err
}
