package actors

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Requester is somebody who wants to add owners to a group: Alice. She may come and go; what she received stays hers.
type Requester struct {
	Key
	*inbox
	url     string
	session atomic.Pointer[session] // while offline, one that has ended
}

// NewRequester returns a requester who is offline. Call Connect.
func NewRequester(url string, key Key) *Requester {
	r := &Requester{Key: key, url: url, inbox: newInbox()}
	r.session.Store(newSession(nil))
	r.Disconnect()
	return r
}

// Connect opens an authenticated session at the relay; ctx bounds the opening only. It replaces the session that is open,
// if any. Call Disconnect when done.
func (r *Requester) Connect(ctx context.Context) error {
	session, err := connect(ctx, r.url, r.Key)
	if err != nil {
		return err
	}
	r.session.Swap(session).Disconnect()
	return nil
}

// Disconnect ends the session.
func (r *Requester) Disconnect() { r.session.Load().Disconnect() }

// Listen subscribes to the outcomes of the requester's requests and to the owners' KeyPackages, and returns when both
// subscriptions are open. Outcomes are believed if the key of the relay's NIP-11 document has signed them. The limit for KeyPackages
// is 0: without one, a relay may take the subscription itself for a request.
func (r *Requester) Listen(ctx context.Context, owners ...string) error {
	said, err := ReadAnnouncement(ctx, r.url)
	if err != nil {
		return err
	}
	outcomes := nostr.Filter{Kinds: []int{said.Outcome}, Tags: nostr.TagMap{"p": {r.Pubkey}}}
	told := func(raw string) { r.outcome(raw, said.Pubkey) }
	if err := r.session.Load().Subscribe(ctx, "outcomes", outcomes, told); err != nil {
		return err
	}
	return r.Subscribe(ctx, "keypackages", nostr.Filter{
		Kinds: []int{keypackage.KindAddressableKeyPackage, keypackage.KindKeyPackage}, Authors: owners, LimitZero: true,
	})
}

// Subscribe opens a subscription of one's own making, on which KeyPackages are expected.
func (r *Requester) Subscribe(ctx context.Context, id string, filter nostr.Filter) error {
	return r.session.Load().Subscribe(ctx, id, filter, r.keyPackage)
}

// Publish sends a signed event and waits until the relay has accepted it. The error wraps [ErrRefused] if it has not.
func (r *Requester) Publish(ctx context.Context, event *nostr.Event) error {
	return r.session.Load().Publish(ctx, event)
}

// Question is what a kind-447 event asks. Zero values leave the tag out.
type Question struct {
	Owners      []string
	Min         int           // KeyPackages per owner
	Ciphersuite string        // as clients write it, for example 0x0001
	TTL         time.Duration // whole seconds
	Group       string
	Kind        int // 30443 asks for an addressable KeyPackage first
}

// NewRequest returns the question as an unsigned kind-447 event. Its content is random, because the same question twice in
// one second would otherwise be one event.
func NewRequest(q Question) *nostr.Event {
	event := newEvent(keypackage.KindRequest, rand.Text())
	for _, owner := range q.Owners {
		event.Tags = append(event.Tags, nostr.Tag{"p", owner})
	}
	add := func(name, value string, wanted bool) {
		if wanted {
			event.Tags = append(event.Tags, nostr.Tag{name, value})
		}
	}
	add("min", strconv.Itoa(q.Min), q.Min != 0)
	add("cs", q.Ciphersuite, q.Ciphersuite != "")
	add("ttl", strconv.Itoa(int(q.TTL.Seconds())), q.TTL != 0)
	add("h", q.Group, q.Group != "")
	add("k", strconv.Itoa(q.Kind), q.Kind != 0)
	return event
}

// Ask sends the question as a kind-447 event and returns its id when the relay has accepted it.
func (r *Requester) Ask(ctx context.Context, q Question) (requestID string, err error) {
	event := NewRequest(q)
	if err := r.Sign(event); err != nil {
		return "", err
	}
	return event.ID, r.Publish(ctx, event)
}

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

// verifyKeyPackage checks a kind-443 or kind-30443 event as a client does before it adds somebody to a group: id and
// signature of the event, then the KeyPackage with its own signatures, which has to be the author's.
func verifyKeyPackage(raw string) (*nostr.Event, error) {
	event, err := keypackage.VerifyEvent(raw)
	if err != nil {
		return event, err
	}
	if event.Kind != keypackage.KindKeyPackage && event.Kind != keypackage.KindAddressableKeyPackage {
		return event, fmt.Errorf("kind %d instead of a KeyPackage", event.Kind)
	}
	parsed, err := mls.ParseContent(event.Content)
	if err == nil {
		err = mls.Verify(parsed, event.PubKey)
	}
	if err != nil {
		return event, fmt.Errorf("KeyPackage: %w", err)
	}
	if ref := event.Tags.Find("i"); ref != nil && ref[1] != hex.EncodeToString(parsed.Ref()) {
		return event, errors.New("KeyPackage: the i tag is the reference of another KeyPackage")
	}
	return event, nil
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
		return outcome, "", fmt.Errorf("outcome: %w", err)
	}
	request := event.Tags.Find("e")
	if request == nil {
		return outcome, "", errors.New("outcome: it names no request")
	}
	var content relayapi.Outcome
	if err := json.Unmarshal([]byte(event.Content), &content); err != nil {
		return outcome, "", fmt.Errorf("outcome: its content: %w", err)
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
func (in *inbox) AwaitKeyPackages(ctx context.Context, n int) (received []KeyPackage, err error) {
	err = in.await(ctx, func() bool {
		received = slices.Clone(in.keyPackages)
		return len(received) >= n
	})
	if err != nil {
		err = fmt.Errorf("received %d of %d KeyPackages: %w", len(received), n, err)
	}
	return received, err
}

// AwaitOutcome waits for the notice of how the request ended.
func (in *inbox) AwaitOutcome(ctx context.Context, requestID string) (outcome Outcome, err error) {
	err = in.await(ctx, func() (told bool) {
		outcome, told = in.outcomes[requestID]
		return told
	})
	if err != nil {
		err = fmt.Errorf("outcome of the request: %w", err)
	}
	return outcome, err
}
