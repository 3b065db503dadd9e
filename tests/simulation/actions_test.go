package simulation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Package names one of the population's KeyPackage events.
type Package struct{ Owner, Number, Variant int }

// Publish is what the relay does with KeyPackage events of their owners, or with re-broadcasts of them, whoever sends
// them: they are stored, unless they are stored already or were deleted. The methods in this file may be called in the
// middle of an invocation.
func (s *Simulation) Publish(ctx context.Context, packages ...Package) {
	var refs []*firestore.DocumentRef
	for _, p := range packages {
		event := s.population.events[p.Owner][p.Number][p.Variant]
		s.published(p, event)
		refs = append(refs, s.client.Collection(collections.KeyPackages).Doc(event.ID), s.tombstone(event))
	}
	snaps, err := s.client.GetAll(ctx, refs)
	s.failed(err)
	known := make(map[string]bool)
	for i, snap := range snaps {
		id := refs[i/2*2].ID
		known[id] = known[id] || snap.Exists()
	}
	err = s.commit(ctx, func(tx *firestore.Transaction) error {
		for i, p := range packages {
			event := s.population.events[p.Owner][p.Number][p.Variant]
			if !known[event.ID] && !slices.Contains(packages[:i], p) {
				if err := tx.Create(refs[2*i], event.Document); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if status.Code(err) != codes.AlreadyExists { // a crashed invocation has just returned it
		s.failed(err)
	}
}

func (s *Simulation) tombstone(event keypackage.Package) *firestore.DocumentRef {
	return s.client.Collection(collections.Tombstones).Doc(keypackage.TombstoneID(event.ID, event.Owner))
}

// published notes that an event is known to the world.
func (s *Simulation) published(p Package, event keypackage.Package) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.Uploads[event.ID] = event
	s.uploads = append(s.uploads, p)
}

// Delete is what the relay does with the owner's deletion of an event that was published, named by any number.
func (s *Simulation) Delete(ctx context.Context, pick int) {
	s.mu.Lock()
	uploads := s.uploads
	s.mu.Unlock()
	if len(uploads) == 0 {
		return
	}
	p := uploads[pick%len(uploads)]
	event := s.population.events[p.Owner][p.Number][p.Variant]
	s.failed(s.commit(ctx, func(tx *firestore.Transaction) error {
		tombstone := map[string]any{"event_id": event.ID, "owner_pubkey": event.Owner, "deleted_at": s.Clock.Now()}
		if err := tx.Set(s.tombstone(event), tombstone); err != nil {
			return err
		}
		return tx.Delete(s.client.Collection(collections.KeyPackages).Doc(event.ID))
	}))
}

// commit is a transaction of the relay. It tries again if a claim that is under way holds the same documents.
func (s *Simulation) commit(ctx context.Context, writes func(*firestore.Transaction) error) error {
	return retry.Do(ctx, retry.Doubling(time.Millisecond, time.Second), func(attempt int) (bool, error) {
		err := s.client.RunTransaction(s.by(ctx, false), func(_ context.Context, tx *firestore.Transaction) error { return writes(tx) })
		lostRace := status.Code(err) == codes.FailedPrecondition || status.Code(err) == codes.Aborted
		return lostRace && attempt < 10, err
	})
}

// Ask is a request as a requester makes it. The zero values of the optional parts leave their tags out.
type Ask struct {
	Requester int
	Owners    []int
	Min       int
	Suite     string
	Group     string
	TTL       int  // seconds
	Forged    bool // somebody else has changed it after it was signed
}

// Ask stores the request as the relay does, and makes the event that triggers ClaimKeyPackages.
func (s *Simulation) Ask(ctx context.Context, a Ask) {
	event := s.requestEvent(a)
	now := s.Clock.Now()
	fields := map[string]any{
		"event": event.String(), "kind": int64(event.Kind), "pubkey": event.PubKey, "created_at": int64(event.CreatedAt),
		"received_at": now, "open": int64(0), // which shard it is does not matter
	}
	if _, err := s.client.Collection(collections.Requests).Doc(event.ID).Create(s.by(ctx, false), fields); err != nil {
		s.failed(err)
		return
	}
	doc := keypackage.ReadRequestDocument(event.ID, fields, now)
	var owners []string
	for _, i := range a.Owners {
		if owner := s.population.Owners[i].Pubkey; !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.Requests[event.ID], s.run.Stored[event.ID] = owners, true
	s.triggers = append(s.triggers, trigger{doc: doc})
}

func (s *Simulation) requestEvent(a Ask) nostr.Event {
	s.asked++
	event := nostr.Event{
		Kind: keypackage.KindRequest, CreatedAt: nostr.Timestamp(s.Clock.Now().Unix()),
		Content: fmt.Sprint("request ", s.asked), // no two requests are the same
	}
	for _, i := range a.Owners {
		event.Tags = append(event.Tags, nostr.Tag{"p", s.population.Owners[i].Pubkey})
	}
	optional := []struct{ name, value string }{
		{"min", strconv.Itoa(a.Min)}, {"cs", a.Suite}, {"h", a.Group}, {"ttl", strconv.Itoa(a.TTL)},
	}
	for _, o := range optional {
		if o.value != "" && o.value != "0" {
			event.Tags = append(event.Tags, nostr.Tag{o.name, o.value})
		}
	}
	s.failed(s.population.Requesters[a.Requester].Sign(&event))
	if a.Forged {
		event.Content += ", forged"
		event.ID = event.GetID()
	}
	return event
}

// Enter opens a session of a requester. If it has a matching subscription, the relay asks for the delivery of everything
// that waits for it.
func (s *Simulation) Enter(ctx context.Context, requester int, matching bool) {
	pubkey := s.population.Requesters[requester].Pubkey
	s.Relay.Open(pubkey, matching)
	if matching {
		s.failed(s.topic.Publish(ctx, topic.Message{Requester: pubkey}))
	}
}

// Leave closes all sessions of a requester.
func (s *Simulation) Leave(requester int) { s.Relay.Close(s.population.Requesters[requester].Pubkey) }

// Requester returns a requester's public key.
func (s *Simulation) Requester(i int) string { return s.population.Requesters[i].Pubkey }
