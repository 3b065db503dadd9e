// Command soak runs the whole local suite for a while under load, with faults if wanted: owners upload, delete and repeat
// KeyPackages, requesters ask, come and go, calls are lost, doubled and broken, processes die. Then everything comes to its end
// and is held against the promises.
//
// What people and faults decide comes from a seed. When it happens is up to the machine: the same seed makes a similar run.
//
//	go run ./tests/soak -duration 1m -faults
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

func main() {
	suite.Serve() // the suite runs its processes from this program
	command.Main("soak", runSoak)
}

// runSoak runs a soak and prints what it came to. It fails unless every promise was kept.
func runSoak(ctx context.Context, args []string) error {
	s := newSoak()
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&s.duration, "duration", time.Minute, "how long the load lasts; settling and judging come on top")
	flags.BoolVar(&s.faults, "faults", false, "lose, double and break calls, and kill processes")
	flags.Uint64Var(&s.seed, "seed", 1, "what people and faults decide comes from it")
	flags.Float64Var(&s.rate, "rate", 5, "requests per second")
	flags.StringVar((*string)(&s.RequestsServedBy), "served-by", string(config.ServedByFunctions), "who serves requests: functions or gateway")
	flags.StringVar(&s.Dir, "logs", "", "existing directory in which the logs of all processes stay")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	switch { // a run without requests keeps every promise
	case s.duration <= 0:
		return fmt.Errorf("-duration is %v; it must be above zero", s.duration)
	case !(s.rate > 0) || math.IsInf(s.rate, 0): // NaN is not above zero either
		return fmt.Errorf("-rate is %v; it must be a number above zero", s.rate)
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	s.print(os.Stdout)
	return s.verdict()
}

const (
	// tickEvery is often, so that everything ends soon, and seldom enough that nudges are not the load: the emulator pushes two at a time.
	tickEvery = 5 * time.Second
	// entryTime is more than one visit's time: for busy machines.
	entryTime = 5 * time.Minute
	// patience is for settling, beyond the life of a delivery and the fence: a lost trigger is found after 30 s, the lease of a
	// push whose function was killed lasts 15 s, and the rest is for busy machines.
	patience = 3 * time.Minute
)

// soak is a run.
type soak struct {
	suite.Options
	duration   time.Duration // of the load; settling and judging come on top
	seed       uint64
	rate       float64       // requests per second, of all requesters together
	life       time.Duration // of a pending delivery: a lost message is repeated in it
	faults     bool
	crashEvery time.Duration // mean time between two crashes

	*suite.Suite
	documents  *firestore.Client
	owners     []*owner
	pubkeys    []string // the owners'
	requesters []*requester
	begun      time.Time // the load
	counts     tally     // of what happened
	broken     []string  // promises

	mu             sync.Mutex        // guards what is known of the run from outside the database:
	invariants.Run                   // what the promises are judged by
	underWay       tally             // pushes, by delivery id
	disturbed      bool              // faults are being made
	happened       tally             // calls and faults meanwhile, and errors that clients saw
	forbidden      map[string]string // pieces of what no log may hold, and what each is a piece of
}

func newSoak() *soak {
	return &soak{
		Options: suite.Options{Progress: command.Progress, TickEvery: tickEvery}, life: time.Minute, crashEvery: 7 * time.Second,
		Run: invariants.Run{
			Uploads: make(map[string]keypackage.Package), Requests: make(map[string][]string), Stored: make(map[string]bool),
			Deleted: make(map[string]bool), Left: make(map[string][]time.Time),
		},
		underWay: make(tally), happened: make(tally), forbidden: make(map[string]string),
	}
}

// note lets do change what is known of the run.
func (s *soak) note(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// run runs the soak. The error says that the run itself failed; broken promises are in the report.
func (s *soak) run(ctx context.Context) (err error) {
	if s.Dir == "" { // the suite's own would not outlive it
		if s.Dir, err = os.MkdirTemp("", "soak-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.Dir)) }()
	}
	s.Middleware, s.EndpointFront = s.inFrontOf, s.inFrontOfRelay
	s.FunctionEnv = map[string]string{
		"DELIVERY_TTL":          s.life.String(),
		"PAIR_LIMIT_PER_HOUR":   "10000", // the limits have tests of their own, and would end the load after minutes
		"OWNER_BUDGET_PER_HOUR": "100000",
	}
	if s.Suite, err = suite.Start(ctx, s.Options); err != nil {
		return err
	}
	if s.documents, err = s.Documents(ctx); err == nil {
		defer s.documents.Close()
		err = s.play(ctx)
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		return err
	}
	return s.searchLogs() // after the last word was written
}

// play plays all parts. It ends early if a process ends that nobody has stopped.
func (s *soak) play(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-s.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	for _, part := range []func(context.Context) error{s.enter, s.load, s.settle} {
		if err := part(ctx); err != nil || ctx.Err() != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
	return nil
}

// enter brings everybody in: owners fill their stock before anybody asks.
func (s *soak) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, entryTime)
	defer cancel()
	var all errgroup.Group
	for i := range owners {
		o := &owner{soak: s, dice: newDice(s.seed, "owner", i), Key: s.newKey(), habit: habits[i%len(habits)]}
		s.owners, s.pubkeys = append(s.owners, o), append(s.pubkeys, o.Pubkey)
		all.Go(func() error { return until(ctx, o.visit) })
	}
	for i := range requesters {
		client := actors.NewRequester(s.Addresses().Relay, s.newKey())
		s.requesters = append(s.requesters, &requester{soak: s, dice: newDice(s.seed, "requester", i), Requester: client})
	}
	return all.Wait()
}

// load plays the load until its time is over, ctx ends, or a crash could not be made good.
func (s *soak) load(ctx context.Context) error {
	s.Progress(fmt.Sprintf("load for %v", s.duration))
	s.begun = time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	for _, o := range s.owners {
		all.Go(func() error { return s.often(ctx, o.dice, visitEvery, o.visit) })
	}
	for _, r := range s.requesters {
		all.Go(func() error {
			return s.often(ctx, r.dice, time.Duration(requesters/s.rate*float64(time.Second)), r.act)
		})
	}
	if s.faults {
		s.note(func() { s.disturbed = true })
		defer s.note(func() { s.disturbed = false })
		all.Go(func() error { return s.crash(ctx) })
	}
	return all.Wait()
}

// settle waits until everything has come to its end, and judges it: all requesters come online and stay, and whatever is still
// under way is delivered or expires. What has not ended when patience does is broken.
func (s *soak) settle(ctx context.Context) error {
	most := s.life + keypackage.Fence + patience
	s.Progress(fmt.Sprintf("settling, which takes at most %v more", most))
	bounded, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var all errgroup.Group
	for _, r := range s.requesters {
		all.Go(func() error { return until(bounded, r.stay) })
	}
	if err := all.Wait(); err != nil {
		return fmt.Errorf("a requester cannot come back: %w", err)
	}
	return retry.Do(bounded, retry.Doubling(time.Second/2, time.Second/2), func(int) (again bool, err error) {
		ended, err := s.judge(ctx)
		return !ended && err == nil, err
	})
}
