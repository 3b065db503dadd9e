// Package publishing is the use case of a relay that takes in what its clients publish: KeyPackages (kinds 443 and 30443),
// deletions (kind 5) and requests (kind 447).
//
// publisher.go has what the others share and stores requests, keypackage.go takes in KeyPackages, deletion.go carries out
// deletions, and store.go is the contract with the store.
package publishing

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// Event is a signed event with the bytes in which it was published. Its id and signature are verified, and every parser reads
// the bytes in the same way: see [keypackage.VerifyEvent].
type Event struct {
	*nostr.Event
	Raw string
}

// Answer is what an OK says (NIP-01): whether the event was taken, and why not, or what else there is to say.
type Answer struct {
	Accepted bool
	Reason   string // "duplicate: ...", "invalid: ...", "blocked: ..."; may be empty if accepted
}

func accepted() Answer               { return Answer{Accepted: true} }
func duplicate(reason string) Answer { return Answer{Accepted: true, Reason: "duplicate: " + reason} }
func invalid(reason string) Answer   { return Answer{Reason: "invalid: " + reason} }
func blocked(reason string) Answer   { return Answer{Reason: "blocked: " + reason} }

// Settings of a Publisher.
type Settings struct {
	Policy   keypackage.Policy
	MaxStock int // KeyPackages of one owner that are kept
}

// Publisher takes in events. It is safe for concurrent use. Each method returns once what it did is durable; its errors are
// retryable, and asking again is harmless.
type Publisher struct {
	store    Store
	settings Settings
	now      func() time.Time
}

// New returns a Publisher. now is the clock.
func New(store Store, settings Settings, now func() time.Time) *Publisher {
	return &Publisher{store: store, settings: settings, now: now}
}

// attempts bounds the races that are lost to somebody who publishes or deletes the same at the same moment.
const attempts = 5

// pauses are random, so that losers of the same race do not meet again.
func pauses(attempt int) time.Duration { return rand.N(time.Duration(attempt) * 20 * time.Millisecond) }

// contend does what may lose a race, and does it anew if it has.
func contend(ctx context.Context, reason string, do func() (Answer, error)) (answer Answer, err error) {
	err = retry.Do(ctx, pauses, func(attempt int) (bool, error) {
		answer, err = do()
		return errors.Is(err, keypackage.ErrConflict) && attempt < attempts, err
	})
	if errors.Is(err, keypackage.ErrConflict) {
		err = fault.Retryable(reason, err)
	}
	return answer, err
}

// Request stores a 447 that was received at that time, whatever a claim will say of it. Publishing it again changes nothing.
// claimed says that the caller claims what it asks for by itself.
func (p *Publisher) Request(ctx context.Context, e Event, received time.Time, claimed bool) (Answer, error) {
	added, err := p.store.AddRequest(ctx, e.ID, map[string]any{
		keypackage.FieldEvent: e.Raw, keypackage.FieldKind: e.Kind, "pubkey": e.PubKey, keypackage.FieldCreatedAt: int64(e.CreatedAt),
		keypackage.FieldReceivedAt: received, keypackage.FieldOpen: keypackage.NewMark(), keypackage.FieldGateway: claimed,
	})
	switch {
	case err != nil:
		return Answer{}, err
	case !added:
		return duplicate("already have this request"), nil
	}
	return accepted(), nil
}
