// Command rely is an ordinary relay in memory, made with rely, for the gateway to stand before. It serves at the address that is its
// argument, until it is killed.
package main

import (
	"context"
	"log"
	"os"
	"slices"
	"sync"

	"github.com/nbd-wtf/go-nostr"
	"github.com/pippellia-btc/rely"
)

// memory keeps every event, KeyPackages like anything else.
type memory struct {
	mu     sync.Mutex
	events []nostr.Event
}

func main() {
	kept := &memory{}
	relay := rely.NewRelay()
	relay.On.Event = kept.save
	relay.On.Req = kept.query
	relay.On.Count = kept.count
	if err := relay.StartAndServe(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func (m *memory) save(_ rely.Client, event *nostr.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, *event)
	return nil
}

func (m *memory) query(_ context.Context, _ rely.Client, filters nostr.Filters) ([]nostr.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := slices.Clone(m.events)
	return slices.DeleteFunc(found, func(event nostr.Event) bool { return !filters.Match(&event) }), nil
}

func (m *memory) count(client rely.Client, filters nostr.Filters) (count int64, approx bool, err error) {
	found, err := m.query(context.Background(), client, filters)
	return int64(len(found)), false, err
}
