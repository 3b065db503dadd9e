package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// reject is asked about every event. Authentications are for one relay's eyes (NIP-42).
func (r *Relay) reject(_ context.Context, event *nostr.Event) (reject bool, reason string) {
	return event.Kind == nostr.KindClientAuthentication, "invalid: send it as AUTH"
}

// store takes in an event whose id and signature khatru has verified, and tells subscribers. Success is reported as a
// duplicate, which khatru acknowledges in the same way but does not broadcast.
func (r *Relay) store(ctx context.Context, event *nostr.Event) error {
	if err := r.keep(ctx, event); err != nil {
		return err
	}
	r.sessions.broadcast(event)
	return eventstore.ErrDupEvent
}

func (r *Relay) keep(ctx context.Context, event *nostr.Event) error {
	if r.library.wasDeleted(event) {
		return errDeleted
	}
	switch {
	case isKeyPackage(event.Kind):
		raw, err := encode(event)
		if err != nil {
			return err
		}
		return r.shelf.putKeyPackage(ctx, event, raw)
	case event.Kind == keypackage.KindRequest:
		return r.keepRequest(ctx, event)
	case event.Kind == nostr.KindDeletion:
		if err := r.delete(ctx, event); err != nil {
			return err
		}
	}
	return r.library.put(event)
}

func (r *Relay) keepRequest(ctx context.Context, event *nostr.Event) error {
	raw, err := encode(event)
	if err != nil {
		return err
	}
	stored := r.shelf.putRequest(ctx, event, raw)
	if stored != nil && !errors.Is(stored, eventstore.ErrDupEvent) {
		return stored
	}
	if err := r.library.put(event); err != nil { // also what an earlier run has stored, so that its outcome can be told
		return err
	}
	return stored
}

// encode returns the event as it is stored and delivered. khatru does not keep the bytes that it received; what it parsed
// must still be what was signed.
func encode(event *nostr.Event) (string, error) {
	raw := event.String()
	if _, err := keypackage.VerifyEvent(raw); err != nil {
		return "", fmt.Errorf("invalid: %w", err)
	}
	return raw, nil
}

// delete carries out a deletion request (NIP-09). What is not the author's is left alone.
func (r *Relay) delete(ctx context.Context, request *nostr.Event) error {
	r.library.erase(request)
	for tag := range request.Tags.FindAll("e") {
		if !isEventID(tag[1]) {
			continue
		}
		if err := r.shelf.bury(ctx, tag[1], request.PubKey); err != nil {
			return err
		}
	}
	if request.Tags.Find("a") == nil {
		return nil
	}
	owned, err := r.shelf.ownedBy(ctx, request.PubKey)
	if err != nil {
		return err
	}
	for _, event := range slices.DeleteFunc(owned, func(e *nostr.Event) bool { return !r.library.wasDeleted(e) }) {
		if err := r.shelf.bury(ctx, event.ID, request.PubKey); err != nil {
			return err
		}
	}
	return nil
}

// query returns what the session may read: everything but KeyPackages, and its own KeyPackages.
func (r *Relay) query(ctx context.Context, filter nostr.Filter) (chan *nostr.Event, error) {
	found := r.library.query(filter)
	if reader := r.readerOf(ctx); reader != "" && readsOwn(filter, reader) {
		own, err := r.shelf.ownedBy(ctx, reader)
		if err != nil {
			r.log.Warn("query failed", "error", err)
			return nil, errors.New("error: the store does not answer")
		}
		found = append(found, slices.DeleteFunc(own, func(e *nostr.Event) bool { return !filter.Matches(e) })...)
	}
	found = page(found, filter)
	events := make(chan *nostr.Event, len(found))
	for _, event := range found {
		events <- event
	}
	close(events)
	return events, nil
}
