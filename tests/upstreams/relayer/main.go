// Command relayer is an ordinary relay in memory, made with relayer, for the gateway to stand before. It serves at the address that is
// its argument, until it is killed.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/fiatjaf/eventstore"
	"github.com/fiatjaf/relayer/v2"
	"github.com/nbd-wtf/go-nostr"
)

// memory is a relay that takes every event, KeyPackages like anything else, and its store.
type memory struct {
	mu     sync.Mutex
	events []*nostr.Event
}

func main() {
	server, err := relayer.NewServer(&memory{})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], server))
}

func (m *memory) Name() string                                   { return "an ordinary relay" }
func (m *memory) Init() error                                    { return nil }
func (m *memory) Close()                                         {}
func (m *memory) AcceptEvent(context.Context, *nostr.Event) bool { return true }
func (m *memory) Storage(context.Context) eventstore.Store       { return m }

func (m *memory) SaveEvent(_ context.Context, event *nostr.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, event)
	return nil
}

func (m *memory) DeleteEvent(_ context.Context, event *nostr.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = slices.DeleteFunc(m.events, func(kept *nostr.Event) bool { return kept.ID == event.ID })
	return nil
}

// QueryEvents collects before it returns, while nothing is written.
func (m *memory) QueryEvents(_ context.Context, filter nostr.Filter) (chan *nostr.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make(chan *nostr.Event, len(m.events))
	for _, event := range m.events {
		if filter.Matches(event) {
			found <- event
		}
	}
	close(found)
	return found, nil
}

// CountEvents implements relayer.EventCounter.
func (m *memory) CountEvents(ctx context.Context, filter nostr.Filter) (int64, error) {
	found, err := m.QueryEvents(ctx, filter)
	return int64(len(found)), err
}
