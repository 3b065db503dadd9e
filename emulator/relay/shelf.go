package relay

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// shelf is the relay's side of Firestore: KeyPackages, requests and tombstones. The functions take KeyPackages from it and
// put them back, so nothing that they may change is cached.
type shelf struct {
	keyPackages, requests, tombstones *firestore.CollectionRef
	client                            *firestore.Client
	withoutEvent                      bool // write KeyPackages as relays did before documents held the event
	now                               func() time.Time

	slots sync.Mutex // one addressable event at a time

	mu    sync.Mutex
	known map[string]*nostr.Event // every KeyPackage event accepted here, by id
}

func newShelf(client *firestore.Client, names config.Collections, withoutEvent bool) *shelf {
	return &shelf{
		client:       client,
		keyPackages:  client.Collection(names.KeyPackages),
		requests:     client.Collection(names.Requests),
		tombstones:   client.Collection(names.Tombstones),
		withoutEvent: withoutEvent,
		now:          time.Now,
		known:        map[string]*nostr.Event{},
	}
}

// event returns the KeyPackage event with that id if it was accepted here, stored still or not.
func (s *shelf) event(id string) (*nostr.Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	event, ok := s.known[id]
	return event, ok
}

func (s *shelf) remember(event *nostr.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[event.ID] = event
}

// putRequest stores a kind-447 event. It returns eventstore.ErrDupEvent for one that is there.
func (s *shelf) putRequest(ctx context.Context, event *nostr.Event, raw string) error {
	_, err := s.requests.Doc(event.ID).Create(ctx, requestDocument(event, raw, s.now()))
	return duplicate("store request", err)
}

// putKeyPackage stores a KeyPackage event; of addressable ones the newest of each slot stays. It returns
// eventstore.ErrDupEvent for one that is there or has been replaced.
func (s *shelf) putKeyPackage(ctx context.Context, event *nostr.Event, raw string) error {
	document := keyPackageDocument(event)
	if !s.withoutEvent || event.Kind == keypackage.KindAddressableKeyPackage {
		document[keypackage.FieldEvent] = raw
	}
	if deleted, err := s.deleted(ctx, event.ID, event.PubKey); err != nil || deleted {
		return cmp.Or(err, errDeleted)
	}
	s.remember(event)
	if event.Kind == keypackage.KindAddressableKeyPackage {
		return s.replace(ctx, event, document)
	}
	_, err := s.keyPackages.Doc(event.ID).Create(ctx, document)
	return duplicate("store KeyPackage", err)
}

// replace stores an addressable event in place of the older ones in its slot. Nobody else writes such documents, so the
// mutex suffices.
func (s *shelf) replace(ctx context.Context, event *nostr.Event, document keypackage.Document) error {
	s.slots.Lock()
	defer s.slots.Unlock()
	slot, err := s.slot(ctx, event.PubKey, event.Tags.GetD())
	if err != nil {
		return err
	}
	if slices.ContainsFunc(slot, func(other *nostr.Event) bool { return !supersedes(event, other) }) {
		return eventstore.ErrDupEvent
	}
	err = s.client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) error {
		for _, older := range slot {
			if err := tx.Delete(s.keyPackages.Doc(older.ID)); err != nil {
				return err
			}
		}
		return tx.Create(s.keyPackages.Doc(event.ID), document)
	})
	return duplicate("replace KeyPackage", err)
}

// slot returns the stored events of a slot.
func (s *shelf) slot(ctx context.Context, owner, d string) ([]*nostr.Event, error) {
	events, err := s.ownedBy(ctx, owner)
	return slices.DeleteFunc(events, func(e *nostr.Event) bool {
		return e.Kind != keypackage.KindAddressableKeyPackage || e.Tags.GetD() != d
	}), err
}

// ownedBy returns the owner's stored KeyPackage events.
func (s *shelf) ownedBy(ctx context.Context, owner string) ([]*nostr.Event, error) {
	documents, err := s.keyPackages.Where(keypackage.FieldOwner, "==", owner).Documents(ctx).GetAll()
	if err != nil {
		return nil, fmt.Errorf("read KeyPackages: %w", err)
	}
	var events []*nostr.Event
	for _, document := range documents {
		if event := s.read(document); event != nil && event.PubKey == owner && isKeyPackage(event.Kind) {
			events = append(events, event)
		}
	}
	return events, nil
}

// read returns the event of a document, or nil if only a relay of the past had it.
func (s *shelf) read(document *firestore.DocumentSnapshot) *nostr.Event {
	raw := keypackage.Document(document.Data()).Text(keypackage.FieldEvent)
	if event, err := keypackage.VerifyEvent(raw); err == nil {
		return event
	}
	event, _ := s.event(document.Ref.ID)
	return event
}

// bury removes a KeyPackage that its owner has deleted and leaves a tombstone, if the owner is who published it.
func (s *shelf) bury(ctx context.Context, id, owner string) error {
	published, err := s.published(ctx, id, owner)
	if err != nil || !published {
		return err
	}
	err = s.client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) error {
		if err := tx.Set(s.tombstones.Doc(keypackage.TombstoneID(id, owner)), tombstoneDocument(id, owner, s.now())); err != nil {
			return err
		}
		return tx.Delete(s.keyPackages.Doc(id))
	})
	if err != nil {
		return fmt.Errorf("delete KeyPackage: %w", err)
	}
	return nil
}

// published reports whether the owner is the author of that KeyPackage event. Its document may be gone, because the package
// is on its way to a requester; the tombstone is what stops it.
func (s *shelf) published(ctx context.Context, id, owner string) (bool, error) {
	if event, ok := s.event(id); ok {
		return event.PubKey == owner, nil
	}
	document, err := s.keyPackages.Doc(id).Get(ctx)
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read KeyPackage: %w", err)
	}
	return keypackage.Document(document.Data()).Text(keypackage.FieldOwner) == owner, nil
}

func (s *shelf) deleted(ctx context.Context, id, author string) (bool, error) {
	_, err := s.tombstones.Doc(keypackage.TombstoneID(id, author)).Get(ctx)
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read tombstone: %w", err)
	}
	return true, nil
}

// duplicate turns the error of a Create that found the document into the one by which khatru knows a duplicate.
func duplicate(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.AlreadyExists:
		return eventstore.ErrDupEvent
	}
	return fmt.Errorf("%s: %w", doing, err)
}
