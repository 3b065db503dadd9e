package contention

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// delete has the owner delete packages of hers, at an instance of its own.
func (s *world) delete(owner actors.Key, packages ...keypackage.Document) {
	s.t.Helper()
	e := &nostr.Event{Kind: nostr.KindDeletion, CreatedAt: nostr.Now(), Tags: nostr.Tags{{"k", "443"}}}
	for _, p := range packages {
		e.Tags = append(e.Tags, nostr.Tag{"e", fixture.ID(p)})
	}
	if err := owner.Sign(e); err != nil {
		s.t.Error(err)
		return
	}
	publisher := publishing.New(s.Store(), publishing.Settings{Policy: s.Policy, MaxStock: s.Gateway.MaxStock}, time.Now)
	if answer, err := publisher.Delete(s.t.Context(), publishing.Event{Event: e, Raw: e.String()}); err != nil || !answer.Accepted {
		s.t.Errorf("deletion: %+v, %v", answer, err)
	}
}

// Owners delete while somebody asks for what they delete. Whoever is first: nothing of it is pushed that was deleted before,
// and nothing of it is in stock in the end.
func TestDeletionAgainstClaim(t *testing.T) {
	t.Parallel()
	for _, during := range []bool{true, false} {
		t.Run(fmt.Sprintf("during the claim %t", during), func(t *testing.T) {
			t.Parallel()
			s := newWorld(t)
			deleted := make(map[string]bool)
			var requests []keypackage.RequestDocument
			var deletions []func()
			for range 12 {
				owner := actors.NewKey()
				packages := fixture.Packages(t, owner, 3)
				s.PutPackages(packages...)
				requests = append(requests, s.ask(1, actors.Question{Owners: []string{owner.Pubkey}})...)
				deleted[fixture.ID(packages[0])] = true
				deletions = append(deletions, func() { s.delete(owner, packages[0]) })
			}
			var all sync.WaitGroup
			if during {
				for _, deletion := range deletions {
					all.Go(deletion)
				}
			}
			s.claim(requests, s.one)
			if !during {
				for _, deletion := range deletions {
					all.Go(deletion)
				}
			}
			all.Wait()
			s.auditDeletions(requests, deleted)
		})
	}
}

// auditDeletions delivers and expires what is left and looks at what became of it.
func (s *world) auditDeletions(requests []keypackage.RequestDocument, deleted map[string]bool) {
	s.t.Helper()
	relay := &fickleRelay{}
	deliverer := delivering.New(s.Store(), relay, keypackage.ModeDeliver, time.Now)
	for _, request := range requests {
		if _, err := deliverer.ForRequest(s.t.Context(), keypackage.Announcement{RequestID: request.ID}); err != nil {
			s.t.Log(err) // the fickle relay
		}
	}
	ahead := func() time.Time { return time.Now().Add(generous.DeliveryTTL + 2*keypackage.Fence) }
	expirer := expiring.New(s.Store(), nil, nil, nil, expiring.Settings{Mode: keypackage.ModeOff}, ahead)
	if _, err := expirer.Run(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	o := s.outcome()
	for id, d := range o.deliveries {
		if deleted[d.PackageID] && (relay.answers[id] != "" || d.Reason != keypackage.ExpiredTombstoned) {
			s.t.Errorf("a deleted package was pushed (%q) or ended %s %s", relay.answers[id], d.State, d.Reason)
		}
	}
	for _, id := range o.stock {
		if deleted[id] {
			s.t.Errorf("%s is in stock, though it was deleted", id)
		}
	}
	if n := len(s.In(s.Collections.Tombstones)); n != len(deleted) {
		s.t.Errorf("%d tombstones of %d", n, len(deleted))
	}
}
