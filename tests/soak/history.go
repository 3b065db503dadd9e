package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// history is what is known of a run from outside the database. Its methods are safe for concurrent use.
type history struct {
	mu       sync.Mutex
	uploads  map[string]*upload     // by event id
	asks     map[string]ask         // by request id
	ends     map[string][]time.Time // of sessions, by the requester's public key; "" are those of everybody's
	underWay map[string]int         // pushes, by delivery id
	raced    []invariants.Push      // pushes that were not alone
	faults   map[string]int
	troubles int      // errors that clients saw
	secrets  []string // of all people
}

// upload is a KeyPackage event that an owner has published, or tried to.
type upload struct {
	invariants.Upload
	event   *nostr.Event
	stored  bool // the relay has said so
	deleted bool // the owner wants it gone
}

// ask is a request that was sent.
type ask struct {
	invariants.Request
	accepted bool // the relay has said so
}

func newHistory() *history {
	return &history{
		uploads: make(map[string]*upload), asks: make(map[string]ask), ends: make(map[string][]time.Time),
		underWay: make(map[string]int), faults: make(map[string]int),
	}
}

// note lets do change the history.
func (h *history) note(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do()
}

// upload notes an event that is about to be published. The gateway's document of it says nothing that the event
// does not.
func (h *history) upload(event *nostr.Event) error {
	p := keypackage.Inspect(event.ID, keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
		keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldEvent: event.String(),
	}, keypackage.PolicyStrict)
	if p.Flaw != "" {
		return fmt.Errorf("a KeyPackage of an owner is not one: %s", p.Flaw)
	}
	h.note(func() {
		known := invariants.Upload{Owner: p.Owner, Hash: p.Hash, Suite: p.Suite, Expires: p.ExpiresAt, Raw: p.Event}
		h.uploads[event.ID] = &upload{Upload: known, event: event}
	})
	return nil
}

// left notes the end of a requester's session, or of all.
func (h *history) left(requester string) {
	h.note(func() { h.ends[requester] = append(h.ends[requester], time.Now()) })
}

// push notes that a call of the relay's endpoint begins (1) or ends (-1).
func (h *history) push(ids []string, by int) {
	h.note(func() {
		for _, id := range ids {
			if h.underWay[id] += by; h.underWay[id] > 1 {
				h.raced = append(h.raced, invariants.Push{DeliveryID: id, Contested: true})
			}
		}
	})
}

func (h *history) fault(what string) { h.note(func() { h.faults[what]++ }) }
