// Package simulation is deterministic simulation testing: the real use cases run on the real Firestore emulator, with
// everything else under control. The clock stands still until a test moves it, the relay, its sessions and the topic are
// simulated, and so is what the platform does with events and messages: it loses, repeats and reorders them, lets
// instances interrupt each other and has any call fail or an instance die at it (package faults). A seed makes the same
// run each time. What happened is checked against the promises afterwards (package invariants).
//
// simulation.go sets up a run and checks it, population.go is who takes part, backend.go the database, clock.go the time,
// relay.go the relay, topic.go the topic in memory, pubsub.go and pushed.go the same on the Pub/Sub emulator. platform.go
// runs the functions, here.go what is claimed where the requester's session is, actions.go is what owners and requesters do, settle.go lets everything come to its end, and tally.go
// counts what came about.
package simulation

import (
	"context"
	"sync"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// Store is the store of all use cases.
type Store interface {
	claiming.Store
	delivering.Store
	expiring.Store
}

// Options of a simulation. The zero value is good.
type Options struct {
	Topic Topic             // nil: a Memory
	Wrap  func(Store) Store // lets a test put a mistake between the use cases and the store
	Tight bool              // small limits per requester and per owner
	Tally *Tally            // counts what came about; may be nil
}

// Simulation is one run. Its methods are for one goroutine, unless they say otherwise.
type Simulation struct {
	Clock *Clock
	Relay *Relay

	client     *firestore.Client
	close      func() error
	population *Population
	store      Store
	topic      Topic
	settings   claiming.Settings
	tally      *Tally
	running    sync.WaitGroup // invocations, crashed ones included

	mu       sync.Mutex
	run      invariants.Run
	uploads  []Package
	triggers []trigger
	happened map[string]int // faults and interruptions
	faults   []error        // of the surroundings, not of the functions
	asked    int
}

// trigger is an event that waits to be handed to ClaimKeyPackages.
type trigger struct{ doc keypackage.RequestDocument }

// New sets up an empty simulation at the time Start, in which the scheduled function has run once. It waits for a free
// backend; the caller must call Close.
func New(b *Backends, o Options) (*Simulation, error) {
	population, err := thePopulation()
	if err != nil {
		return nil, err
	}
	clock, own := &Clock{now: Start}, <-b.free
	s := &Simulation{
		Clock: clock, Relay: newRelay(clock), population: population, topic: o.Topic, tally: o.Tally, client: own.client,
		happened: make(map[string]int),
		close: func() error {
			defer func() { b.free <- own }()
			return own.end()
		},
		run: invariants.Run{Uploads: make(map[string]invariants.Upload)},
		settings: claiming.Settings{
			Limits: claiming.Limits{DeliveryTTL: 5 * time.Minute, PairLimitPerHour: 10, OwnerBudgetPerHour: 100},
			Mode:   keypackage.ModeDeliver, MaxPerOwner: 10, RequestMaxAge: 15 * time.Minute,
		},
	}
	if o.Tight {
		s.settings.PairLimitPerHour, s.settings.OwnerBudgetPerHour = 3, 2
	}
	if s.topic == nil {
		s.topic = new(Memory)
	}
	s.store = store.New(s.client, collections, keypackage.PolicyStrict)
	if o.Wrap != nil {
		s.store = o.Wrap(s.store)
	}
	s.Tick(context.Background(), new(Invocation))
	return s, nil
}

// Close waits for everything that is under way and clears the database.
func (s *Simulation) Close() error {
	s.running.Wait()
	return s.close()
}

// note keeps a commit. It may be called concurrently.
func (s *Simulation) note(c invariants.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.Commits = append(s.run.Commits, c)
}

// failed keeps an error of the surroundings, which is a mistake of the test. It may be called concurrently.
func (s *Simulation) failed(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, err)
}

// by returns the context of what the relay (system false) or a function does.
func (s *Simulation) by(ctx context.Context, system bool) context.Context {
	return context.WithValue(ctx, authorKey{}, author{s, s.Clock.Now(), system})
}

// Check returns the promises that were broken. Call it after Settle.
func (s *Simulation) Check(ctx context.Context) ([]invariants.Violation, error) {
	s.running.Wait()
	if len(s.faults) > 0 {
		return nil, s.faults[0]
	}
	end, err := invariants.Load(ctx, s.client, collections)
	if err != nil {
		return nil, err
	}
	s.run.Received, s.run.Pushes = s.Relay.received, s.Relay.pushes
	if s.tally != nil {
		s.tally.add(s.run, end, s.happened)
	}
	return invariants.Check(s.run, end, collections), nil
}
