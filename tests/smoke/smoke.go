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

// Step is something that was done or seen.
type Step struct {
	Text   string  `json:"text"`
	Millis float64 `json:"ms"` // since the beginning
}

// Report is what came of it.
type Report struct {
	OK        bool    `json:"ok"` // the KeyPackage arrived and verifies, and none was left behind
	Relay     string  `json:"relay"`
	Owner     string  `json:"owner_pubkey"`
	Requester string  `json:"requester_pubkey"`
	Request   string  `json:"request_event_id,omitempty"`
	Delivery  float64 `json:"delivery_ms,omitempty"` // from the request to the KeyPackage's arrival
	Steps     []Step  `json:"steps"`
	Error     string  `json:"error,omitempty"`

	begun time.Time
	tell  func(Step)
}

// Run publishes a KeyPackage of a new owner and a request of a new requester, waits at most timeout for the delivery, and
// has the owner delete the KeyPackage again, whatever happened. Each step is told as it happens.
func Run(ctx context.Context, relay string, timeout time.Duration, tell func(Step)) *Report {
	owner, requester := actors.NewKey(), actors.NewKey()
	r := &Report{Relay: relay, Owner: owner.Pubkey, Requester: requester.Pubkey, begun: time.Now(), tell: tell}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("gave up after %v", timeout))
	defer cancel()
	published, err := r.try(bounded, owner, requester, timeout)
	if published != nil {
		err = errors.Join(err, r.cleanUp(ctx, owner, published.ID))
	}
	if err != nil {
		r.OK, r.Error = false, actors.ExplainUnreachable(err).Error()
	}
	return r
}

// try returns the KeyPackage that may have been published, also with an error.
func (r *Report) try(ctx context.Context, ownerKey, requesterKey actors.Key, ttl time.Duration) (*nostr.Event, error) {
	published, err := r.publish(ctx, ownerKey)
	if err != nil {
		return published, fmt.Errorf("owner: %w", err)
	}
	requester := actors.NewRequester(r.Relay, requesterKey)
	if err := requester.Connect(ctx); err != nil {
		return published, fmt.Errorf("requester: %w", err)
	}
	defer requester.Disconnect()
	r.step("the requester is authenticated (NIP-42)")
	if err := requester.Listen(ctx, ownerKey.Pubkey); err != nil {
		return published, fmt.Errorf("requester: %w", err)
	}
	r.step("the requester has subscribed to the owner's KeyPackages")
	return published, r.receive(ctx, requester, published, ttl)
}

func (r *Report) publish(ctx context.Context, key actors.Key) (*nostr.Event, error) {
	owner, err := actors.ConnectOwner(ctx, r.Relay, key)
	if err != nil {
		return nil, err
	}
	defer owner.Disconnect()
	r.step("the owner is authenticated (NIP-42)")
	event, err := actors.NewKeyPackage(key, r.Relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)})
	if err != nil {
		return nil, err
	}
	if err := owner.Publish(ctx, event); err != nil {
		return event, err
	}
	r.step("the relay has the owner's KeyPackage (kind 443), and the owner is gone")
	return event, nil
}

// receive asks for the KeyPackage and waits for it. What arrives has been verified: the event, and the KeyPackage in it.
func (r *Report) receive(ctx context.Context, requester *actors.Requester, published *nostr.Event, ttl time.Duration) error {
	asked := time.Now()
	request, err := requester.Ask(ctx, actors.Question{Owners: []string{published.PubKey}, TTL: max(ttl, time.Second)})
	r.Request = request
	if err != nil {
		return fmt.Errorf("requester: %w", err)
	}
	r.step("the relay has the request (kind 447)")
	received, err := requester.AwaitKeyPackages(ctx, 1)
	if err != nil {
		return fmt.Errorf("requester: %w", err)
	}
	if id := received[0].Event.ID; id != published.ID {
		return fmt.Errorf("requester: received KeyPackage %s, which the owner has not published", id)
	}
	r.OK = true
	r.Delivery = millis(received[0].At.Sub(asked))
	r.step("the KeyPackage has arrived, %.0f ms after the request; its signatures verify", r.Delivery)
	r.receiveOutcome(ctx, requester)
	return nil
}

// receiveOutcome decides nothing: a relay tells outcomes as well as it can, in a kind of its own choice.
func (r *Report) receiveOutcome(ctx context.Context, requester *actors.Requester) {
	ctx, cancel := context.WithTimeout(ctx, outcomePatience)
	defer cancel()
	outcome, err := requester.AwaitOutcome(ctx, r.Request)
	if err != nil || len(outcome.Rows) == 0 {
		r.step("no outcome was told in the kind of the gateway, which another relay need not use")
		return
	}
	r.step("the outcome was told: %d of %d granted", outcome.Rows[0].Granted, outcome.Rows[0].Requested)
}

func (r *Report) cleanUp(ctx context.Context, key actors.Key, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupPatience)
	defer cancel()
	owner, err := actors.ConnectOwner(ctx, r.Relay, key)
	if err == nil {
		defer owner.Disconnect()
		err = owner.Delete(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("delete the KeyPackage, which ends by itself within %v: %w", packageLife, err)
	}
	r.step("the owner has deleted what was left (kind 5)")
	return nil
}

func (r *Report) step(format string, args ...any) {
	s := Step{fmt.Sprintf(format, args...), millis(time.Since(r.begun))}
	r.Steps = append(r.Steps, s)
	r.tell(s)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
