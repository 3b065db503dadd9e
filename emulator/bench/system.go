package bench

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// patience is how long a request may take before the bench gives up.
const patience = 60 * time.Second

// packagesPerOwner is a usual stock. perOwner of them are asked for: the rest keeps claims in the usual case.
const (
	packagesPerOwner = 10
	requestsPerOwner = 4
)

// system is what is measured: the suite's relay and functions, and requesters on real websockets.
type system struct {
	stamps     *stamps
	requesters []*actors.Requester
	received   []int    // packages of each requester so far
	owners     []string // each is asked by several requesters, never by one twice while a delivery is open
	next       atomic.Int64
}

func (b *bench) newSystem(ctx context.Context, requesters int) (*system, error) {
	db, err := openDatabase(ctx, b.suite.Config().Project)
	if err != nil {
		return nil, err
	}
	defer db.client.Close()
	total := b.sizes.warmup + len(b.sizes.levels)*b.sizes.polled
	for _, n := range b.sizes.requests {
		total += n * b.sizes.rounds
	}
	s := &system{stamps: b.stamps, received: make([]int, requesters)}
	b.progress("stocking owners for %d requests", total)
	if s.owners, err = db.newOwners(ctx, total/requestsPerOwner+1, packagesPerOwner); err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(8)
	s.requesters = make([]*actors.Requester, requesters)
	for i := range s.requesters {
		s.requesters[i] = actors.NewRequester(b.suite.Addresses().Relay, actors.NewKey())
		group.Go(func() error {
			if err := s.requesters[i].Connect(ctx); err != nil {
				return err
			}
			return s.requesters[i].Subscribe(ctx, "keypackages", nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}})
		})
	}
	return s, group.Wait()
}

func (s *system) close() {
	for _, r := range s.requesters {
		r.Disconnect()
	}
}

// request implements design. A requester waits for one package at a time, so the next that arrives is the one.
func (s *system) request(ctx context.Context, requester int) (journey, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r := s.requesters[requester]
	owner := s.owners[int(s.next.Add(1))%len(s.owners)]
	id, err := r.Ask(ctx, actors.Question{Owners: []string{owner}})
	accepted := time.Now()
	if err != nil {
		return journey{}, err
	}
	received, err := r.AwaitKeyPackages(ctx, s.received[requester]+1)
	if err != nil {
		return journey{}, err
	}
	s.received[requester] = len(received)
	return s.stamps.take(id, accepted, received[len(received)-1].At), nil
}
