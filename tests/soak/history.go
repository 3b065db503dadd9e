package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// history is what is known of a run from outside the database. It is safe for concurrent use.
type history struct {
	mu       sync.Mutex
	uploads  map[string]*upload  // by event id
	asks     map[string]ask      // by request id
	sessions map[string][]period // in which a requester listened, by public key
	pushes   map[string][]period // by delivery id
	raced    []invariants.Push   // pushes that were not alone
	faults   map[string]int
	troubles int      // errors that clients saw
	secrets  []string // of all people
}

// upload is a KeyPackage event that an owner has published, or tried to.
type upload struct {
	invariants.Upload
	content, signature string
	stored             bool // the relay has said so
	deleted            bool // the owner wants it gone
}

// ask is a request that was sent.
type ask struct {
	invariants.Request
	at       time.Time
	accepted bool // the relay has said so
}

// period is a time that may go on; then the end is zero.
type period struct {
	since, until time.Time
	everyone     bool // of a session: it listened to all owners
}

func (p period) open() bool { return p.until.IsZero() }

// overlaps reports whether the period and [since, until) have a moment in common.
func (p period) overlaps(since, until time.Time) bool {
	return p.since.Before(until) && (p.open() || p.until.After(since))
}

func newHistory() *history {
	return &history{
		uploads: make(map[string]*upload), asks: make(map[string]ask), sessions: make(map[string][]period),
		pushes: make(map[string][]period), faults: make(map[string]int),
	}
}

// lock is for `defer h.lock()()`.
func (h *history) lock() (unlock func()) {
	h.mu.Lock()
	return h.mu.Unlock
}

func (h *history) secret(s string) {
	defer h.lock()()
	h.secrets = append(h.secrets, s)
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
	defer h.lock()()
	h.uploads[event.ID] = &upload{
		Upload: invariants.Upload{
			Owner: p.Owner, Hash: p.Hash, Suite: p.Suite, Expires: p.ExpiresAt, Raw: p.Event,
		},
		content: event.Content, signature: event.Sig,
	}
	return nil
}

func (h *history) stored(id string) {
	defer h.lock()()
	h.uploads[id].stored = true
}

func (h *history) delete(id string) {
	defer h.lock()()
	h.uploads[id].deleted = true
}

func (h *history) asked(id, requester string, owners []string, at time.Time, accepted bool) {
	defer h.lock()()
	h.asks[id] = ask{invariants.Request{ID: id, Requester: requester, Owners: owners}, at, accepted}
}

func (h *history) enter(requester string, since time.Time, everyone bool) {
	defer h.lock()()
	h.sessions[requester] = append(h.sessions[requester], period{since: since, everyone: everyone})
}

func (h *history) leave(requester string) {
	defer h.lock()()
	h.endSession(requester, time.Now())
}

func (h *history) endSession(requester string, at time.Time) {
	if n := len(h.sessions[requester]); n > 0 && h.sessions[requester][n-1].open() {
		h.sessions[requester][n-1].until = at
	}
}

// relayDied notes the end of all sessions.
func (h *history) relayDied(at time.Time) {
	defer h.lock()()
	for requester := range h.sessions {
		h.endSession(requester, at)
	}
}

// push notes a call of the relay's endpoint. The caller calls ended when the call is over.
func (h *history) push(ids []string) (ended func()) {
	defer h.lock()()
	since := time.Now()
	for _, id := range ids {
		if slices.ContainsFunc(h.pushes[id], period.open) {
			h.raced = append(h.raced, invariants.Push{DeliveryID: id, Contested: true})
		}
		h.pushes[id] = append(h.pushes[id], period{since: since})
	}
	return func() {
		defer h.lock()()
		for _, id := range ids {
			i := slices.IndexFunc(h.pushes[id], func(p period) bool { return p.open() && p.since.Equal(since) })
			h.pushes[id][i].until = time.Now()
		}
	}
}

func (h *history) fault(what string) {
	defer h.lock()()
	h.faults[what]++
}

func (h *history) trouble() {
	defer h.lock()()
	h.troubles++
}

// sketch says in a line how far it is.
func (h *history) sketch() string {
	defer h.lock()()
	faults := 0
	for _, n := range h.faults {
		faults += n
	}
	return fmt.Sprintf("%5d KeyPackages uploaded  %5d requests  %5d deliveries pushed  %5d faults",
		len(h.uploads), len(h.asks), len(h.pushes), faults)
}
