package relay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"
)

// errDeleted refuses what its author has deleted.
var errDeleted = errors.New("blocked: its author has deleted this event")

// library keeps all events but KeyPackages, and what authors want deleted of both, in memory. It is safe for concurrent
// use.
type library struct {
	mu        sync.Mutex
	events    map[string]*nostr.Event    // by id
	addresses map[string]*nostr.Event    // replaceable and addressable ones, by address
	deleted   map[deletion]bool          // wanted by id
	emptied   map[string]nostr.Timestamp // wanted by address: everything up to then
}

// deletion is an author's wish. It counts for events of that author only.
type deletion struct{ author, id string }

func newLibrary() *library {
	return &library{
		events:    map[string]*nostr.Event{},
		addresses: map[string]*nostr.Event{},
		deleted:   map[deletion]bool{},
		emptied:   map[string]nostr.Timestamp{},
	}
}

// put stores an event. It returns eventstore.ErrDupEvent for one that is there or has been replaced, and errDeleted.
func (l *library) put(event *nostr.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events[event.ID] != nil {
		return eventstore.ErrDupEvent
	}
	if l.isDeleted(event) {
		return errDeleted
	}
	if at, ok := address(event); ok {
		current := l.addresses[at]
		if current != nil && !supersedes(event, current) {
			return eventstore.ErrDupEvent
		}
		l.remove(current)
		l.addresses[at] = event
	}
	l.events[event.ID] = event
	return nil
}

// get returns a stored event, or nil.
func (l *library) get(id string) *nostr.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[id]
}

// query returns the stored events that match, in any order.
func (l *library) query(filter nostr.Filter) []*nostr.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*nostr.Event
	for _, event := range l.events {
		if filter.Matches(event) {
			found = append(found, event)
		}
	}
	return found
}

// erase carries out a deletion request (NIP-09, kind 5) and remembers it for events that come later.
func (l *library) erase(request *nostr.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tag := range request.Tags.FindAll("e") {
		l.deleted[deletion{request.PubKey, tag[1]}] = true
		l.removeDeleted(l.events[tag[1]])
	}
	for tag := range request.Tags.FindAll("a") {
		if isAddressOf(tag[1], request.PubKey) {
			l.emptied[tag[1]] = max(l.emptied[tag[1]], request.CreatedAt)
			l.removeDeleted(l.addresses[tag[1]])
		}
	}
}

// wasDeleted reports whether the author wants the event gone.
func (l *library) wasDeleted(event *nostr.Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isDeleted(event)
}

func (l *library) isDeleted(event *nostr.Event) bool {
	if event.Kind == nostr.KindDeletion { // NIP-09: deleting a deletion has no effect
		return false
	}
	if l.deleted[deletion{event.PubKey, event.ID}] {
		return true
	}
	at, _ := address(event)
	until, emptied := l.emptied[at]
	return emptied && event.CreatedAt <= until
}

func (l *library) removeDeleted(event *nostr.Event) {
	if event != nil && l.isDeleted(event) {
		l.remove(event)
	}
}

func (l *library) remove(event *nostr.Event) {
	if event == nil {
		return
	}
	delete(l.events, event.ID)
	if at, ok := address(event); ok {
		delete(l.addresses, at)
	}
}

// address is what replaceable and addressable events are replaced by (NIP-01), as an `a` tag writes it.
func address(event *nostr.Event) (string, bool) {
	switch {
	case nostr.IsAddressableKind(event.Kind):
		return fmt.Sprintf("%d:%s:%s", event.Kind, event.PubKey, event.Tags.GetD()), true
	case nostr.IsReplaceableKind(event.Kind):
		return fmt.Sprintf("%d:%s:", event.Kind, event.PubKey), true
	}
	return "", false
}

func isAddressOf(address, author string) bool {
	parts := strings.SplitN(address, ":", 3)
	return len(parts) == 3 && parts[1] == author
}

// supersedes says which of two events with one address stays (NIP-01): the newer, of two as old the one with the lower id.
func supersedes(a, b *nostr.Event) bool { return byAge(a, b) < 0 }

// byAge orders events as they are served: newest first, of two as old the one with the lower id first.
func byAge(a, b *nostr.Event) int {
	return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// page sorts events as they are served and applies the filter's limit.
func page(events []*nostr.Event, filter nostr.Filter) []*nostr.Event {
	slices.SortFunc(events, byAge)
	if filter.Limit > 0 && len(events) > filter.Limit {
		return events[:filter.Limit]
	}
	return events
}
