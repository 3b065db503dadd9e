package main

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// packagesPerOwner is a usual stock. requestsPerOwner of them are asked for: the rest keeps claims in the usual case.
const (
	packagesPerOwner = 10
	requestsPerOwner = 4
)

// system is what is measured: a suite's gateway and functions, and requesters on real websockets.
type system struct {
	db         *database
	stamps     *stamps
	url        string // of the gateway
	requesters []*actors.Requester
	received   []int    // packages of each requester so far
	owners     []string // each is asked by several requesters, never by one twice while a delivery is open
	next       atomic.Int64
}

func (b *bench) newSystem(ctx context.Context, running *suite.Suite, requesters int) (*system, error) {
	db, err := openDatabase(ctx, running.Config().Project)
	if err != nil {
		return nil, err
	}
	s := &system{db: db, url: running.Addresses().Relay, stamps: &b.stamps, received: make([]int, requesters)}
	for range requesters {
		s.requesters = append(s.requesters, actors.NewRequester(s.url, actors.NewKey()))
	}
	return s, s.connect(ctx)
}

// restock implements design. It opens the sessions anew, so that none comes to the limits that the gateway sets to one.
func (s *system) restock(ctx context.Context, requests int) (err error) {
	if s.owners, err = s.db.restock(ctx, requests); err != nil {
		return err
	}
	return s.connect(ctx)
}

func (s *system) connect(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(8)
	for _, r := range s.requesters {
		group.Go(func() error {
			if err := r.Connect(ctx); err != nil {
				return err
			}
			return r.Listen(ctx) // to all owners
		})
	}
	return group.Wait()
}

func (s *system) close() {
	_ = s.db.client.Close()
	for _, r := range s.requesters {
		r.Disconnect()
	}
}

// owner is whom the next request asks for.
func (s *system) owner() string { return s.owners[int(s.next.Add(1))%len(s.owners)] }

// request implements design. A requester waits for one package at a time, so the next that arrives is the one.
func (s *system) request(ctx context.Context, requester int) (journey, error) {
	r := s.requesters[requester]
	event := actors.NewRequest(actors.Question{Owners: []string{s.owner()}})
	if err := r.Sign(event); err != nil {
		return journey{}, err
	}
	sent := time.Now()
	if err := r.Publish(ctx, event); err != nil {
		return journey{}, err
	}
	received, err := r.AwaitKeyPackages(ctx, s.received[requester]+1)
	if err != nil {
		return journey{}, err
	}
	s.received[requester] = len(received)
	return s.stamps.take(event.ID, sent, received[len(received)-1].At), nil
}

// startGateway starts a second suite, whose gateway serves requests itself. Nothing is stamped on their way.
func (b *bench) startGateway(ctx context.Context) (*suite.Suite, error) {
	opts := b.suiteOptions(b.suite.Emulators())
	opts.RequestsServedBy, opts.Middleware = config.ServedByGateway, nil
	if opts.Dir != "" {
		opts.Dir = filepath.Join(opts.Dir, "gateway")
		if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	return suite.Start(ctx, opts)
}

// subscribing asks a system by REQ, as somebody new each time, because the same requester would be given the same package.
type subscribing struct{ *system }

// request implements design.
func (s subscribing) request(ctx context.Context, _ int) (journey, error) {
	r := actors.NewRequester(s.url, actors.NewKey())
	if err := r.Connect(ctx); err != nil {
		return journey{}, err
	}
	defer r.Disconnect()
	filter := nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{s.owner()}}
	sent := time.Now()
	if err := r.Subscribe(ctx, "package", filter); err != nil {
		return journey{}, err
	}
	received, err := r.AwaitKeyPackages(ctx, 1)
	if err != nil {
		return journey{}, err
	}
	return journey{sent: sent, arrived: received[0].At}, nil
}
