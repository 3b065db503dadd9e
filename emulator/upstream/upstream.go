// Package upstream is an ordinary Nostr relay in memory, made with khatru: it keeps what it is sent and serves what it is asked
// for, KeyPackages like anything else, of which it knows nothing. It stands behind the gateway wherever any relay may stand.
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

// New returns a relay of its own. The store has no locks, so it is used by one caller at a time. What it has kept is reported as a
// duplicate: khatru acknowledges that in the same way and tells no subscriber.
func New() http.Handler {
	var mu sync.Mutex
	store := &slicestore.SliceStore{MaxLimit: 500}
	alone := func(do func(context.Context, *nostr.Event) error, kept error) func(context.Context, *nostr.Event) error {
		return func(ctx context.Context, event *nostr.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if err := do(ctx, event); err != nil {
				return err
			}
			return kept
		}
	}
	relay := khatru.NewRelay()
	relay.Info.Name = "an ordinary relay"
	relay.StoreEvent = append(relay.StoreEvent, alone(store.SaveEvent, eventstore.ErrDupEvent))
	relay.ReplaceEvent = append(relay.ReplaceEvent, alone(store.ReplaceEvent, eventstore.ErrDupEvent))
	relay.DeleteEvent = append(relay.DeleteEvent, alone(store.DeleteEvent, nil))
	relay.QueryEvents = append(relay.QueryEvents, func(ctx context.Context, filter nostr.Filter) (chan *nostr.Event, error) {
		mu.Lock() // until all is collected
		defer mu.Unlock()
		found, err := store.QueryEvents(ctx, filter)
		if err != nil {
			return nil, err
		}
		events := make(chan *nostr.Event, store.MaxLimit)
		for event := range found {
			events <- event
		}
		close(events)
		return events, nil
	})
	return relay
}
