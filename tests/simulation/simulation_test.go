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
	calls      *calls // of functions, crashed ones included

	mu       sync.Mutex
	run      wholeRun
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
		happened: make(map[string]int), calls: newCalls(),
		close: func() error {
			defer func() { b.free <- own }()
			return own.end()
		},
		run: wholeRun{Run: invariants.Run{
			Uploads: make(map[string]keypackage.Package), Requests: make(map[string][]string), Stored: make(map[string]bool),
		}},
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
	s.calls.await(nil)
	return s.close()
}

// note keeps a commit. It may be called concurrently.
func (s *Simulation) note(c commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.commits = append(s.run.commits, c)
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
func (s *Simulation) Check(ctx context.Context) ([]string, error) {
	s.calls.await(nil)
	if len(s.faults) > 0 {
		return nil, s.faults[0]
	}
	end, err := invariants.Load(ctx, s.client, collections)
	if err != nil {
		return nil, err
	}
	s.run.Received, s.run.Pushes = s.Relay.noted()
	if s.tally != nil {
		s.tally.add(s.run, end, s.happened)
	}
	return append(invariants.Check(s.run.Run, end), replay(s.run, end)...), nil
}
