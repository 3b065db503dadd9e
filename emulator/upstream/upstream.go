// Package upstream is an ordinary Nostr relay in memory, made with khatru: it keeps what it is sent and serves what it is asked
// for, KeyPackages like anything else, of which it knows nothing. It stands behind the gateway wherever any relay may stand.
//
// It does not tell subscribers of new events: khatru would walk through their list without a lock.
package upstream

import (
	"context"
	"net/http"
	"sync"

	"github.com/fiatjaf/eventstore"
	"github.com/fiatjaf/eventstore/slicestore"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"
)

// New returns a relay of its own.
func New() http.Handler {
	memory := &memory{}
	_ = memory.store.Init() // only makes room
	relay := khatru.NewRelay()
	relay.Info.Name = "an ordinary relay"
	relay.StoreEvent = append(relay.StoreEvent, memory.save)
	relay.ReplaceEvent = append(relay.ReplaceEvent, memory.replace)
	relay.DeleteEvent = append(relay.DeleteEvent, memory.delete)
	relay.QueryEvents = append(relay.QueryEvents, memory.query)
	return relay
}

// memory makes the store, which has no locks, safe for concurrent use. What it has kept it reports as a duplicate: khatru
// acknowledges that in the same way and tells no subscriber.
type memory struct {
	mu    sync.Mutex
	store slicestore.SliceStore
}

func (m *memory) save(ctx context.Context, event *nostr.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.store.SaveEvent(ctx, event); err != nil {
		return err
	}
	return eventstore.ErrDupEvent
}

func (m *memory) replace(ctx context.Context, event *nostr.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.store.ReplaceEvent(ctx, event); err != nil {
		return err
	}
	return eventstore.ErrDupEvent
}

func (m *memory) delete(ctx context.Context, event *nostr.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.DeleteEvent(ctx, event)
}

// query collects before it returns, while nothing is written.
func (m *memory) query(ctx context.Context, filter nostr.Filter) (chan *nostr.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.store.QueryEvents(ctx, filter)
	if err != nil {
		return nil, err
	}
	events := make(chan *nostr.Event, m.store.MaxLimit)
	for event := range found {
		events <- event
	}
	close(events)
	return events, nil
}
