package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// history is what is known of a run from outside the database. Its methods are safe for concurrent use.
type history struct {
	mu sync.Mutex
	invariants.Run
	underWay  tally             // pushes, by delivery id
	faults    tally             // that were made
	troubles  int               // errors that clients saw
	forbidden map[string]string // pieces of what no log may hold, and what each is a piece of

	disturbed atomic.Bool     // faults are made
	dice      map[string]dice // of faults, for each place, so that the calls of one do not change the faults of another
}

func newHistory(seed uint64) *history {
	h := &history{
		Run: invariants.Run{
			Uploads: make(map[string]keypackage.Package), Requests: make(map[string][]string), Stored: make(map[string]bool),
			Deleted: make(map[string]bool), Left: make(map[string][]time.Time),
		},
		underWay: make(tally), faults: make(tally), forbidden: make(map[string]string), dice: make(map[string]dice),
	}
	for place := range faultsAt {
		h.dice[place] = newDice(seed, place, 0)
	}
	return h
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
		h.Uploads[event.ID] = p
		h.forbid(event.Content, "content of a KeyPackage")
		h.forbid(event.Sig, "an event's signature")
	})
	return nil
}

// left notes the end of a requester's session, or with "" of all.
func (h *history) left(requester string) {
	h.note(func() { h.Left[requester] = append(h.Left[requester], time.Now()) })
}

// push notes that a call of the relay's endpoint begins (1) or ends (-1).
func (h *history) push(push relayapi.DeliveryRequest, by int) {
	h.note(func() {
		for _, d := range push.Deliveries {
			if h.underWay[d.ID] += by; h.underWay[d.ID] > 1 {
				h.Pushes = append(h.Pushes, invariants.Push{DeliveryID: d.ID, Contested: true})
			}
		}
	})
}
