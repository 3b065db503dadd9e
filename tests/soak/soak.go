package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

const (
	owners     = 8
	requesters = 16
)

// Options says what to run.
type Options struct {
	Duration   time.Duration // of the load; settling and judging come on top
	Seed       uint64
	Rate       float64       // requests per second, of all requesters together
	Life       time.Duration // of a pending delivery
	ServedBy   config.ServedBy
	Faults     bool
	CrashEvery time.Duration // mean time between two crashes

	Binary   string       // see suite.Options
	Logs     string       // existing directory in which all logs stay; "" is a temporary one
	Progress func(string) // told how it goes; must allow concurrent calls
}

// soak is a run.
type soak struct {
	Options
	*suite.Suite
	documents  *firestore.Client
	history    *history
	chaos      *chaos
	owners     []*owner
	requesters []*requester
}

// Run runs a soak and reports on it. The error says that the run itself failed; broken promises are in the report.
func Run(ctx context.Context, opts Options) (report *Report, err error) {
	if opts.Logs == "" {
		if opts.Logs, err = os.MkdirTemp("", "soak-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(opts.Logs)) }()
	}
	s := &soak{Options: opts, history: newHistory()}
	s.chaos = newChaos(opts.Seed, s.history)
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	report, err = s.run(ctx)
	_ = s.documents.Close()
	if err = errors.Join(err, s.Stop()); err != nil {
		return nil, err
	}
	return report, s.searchLogs(report) // after the last word was written
}

// tickEvery is often, so that everything ends soon, and seldom enough that repeated nudges do not become the load: the
// emulator has two pushes in flight at most.
const tickEvery = 5 * time.Second

func (s *soak) start(ctx context.Context) (err error) {
	s.Suite, err = suite.Start(ctx, suite.Options{
		Binary: s.Binary, Dir: s.Logs, Progress: s.Progress, TickEvery: tickEvery,
		Middleware: s.chaos.inFrontOf, EndpointFront: s.chaos.inFrontOfRelay,
		RequestsServedBy: s.ServedBy,
		FunctionEnv: map[string]string{
			"DELIVERY_TTL":          s.Life.String(),
			"PAIR_LIMIT_PER_HOUR":   "10000", // the limits have tests of their own, and would end the load after minutes
			"OWNER_BUDGET_PER_HOUR": "100000",
		},
	})
	if err != nil {
		return err
	}
	settings := s.Config()
	s.documents, err = firestore.NewClientWithDatabase(ctx, settings.Project, settings.Database,
		option.WithEndpoint(s.Addresses().Firestore), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return errors.Join(fmt.Errorf("connect to the Firestore emulator: %w", err), s.Stop())
	}
	return nil
}

// run plays all parts. It ends early if a process ends that nobody has stopped.
func (s *soak) run(ctx context.Context) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-s.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	return s.judge(ctx, begun)
}

// entryTime bounds the entry: a busy machine needs more than one visit's time for it.
const entryTime = 5 * time.Minute

// enter brings everybody in: owners fill their stock before anybody asks.
func (s *soak) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, entryTime)
	defer cancel()
	var all errgroup.Group
	var everyOwner []string
	for i := range owners {
		o := &owner{person: s.newPerson("owner", i), habit: i % habits}
		s.owners, everyOwner = append(s.owners, o), append(everyOwner, o.Pubkey)
		all.Go(func() error { return o.until(ctx, o.visit) })
	}
	for i := range requesters {
		p := s.newPerson("requester", i)
		client := actors.NewRequester(p.relay, p.Key)
		s.requesters = append(s.requesters, &requester{person: p, client: client, owners: everyOwner, life: s.Life})
	}
	return all.Wait()
}

// load plays the load until its time is over, ctx ends, or a crash could not be made good.
func (s *soak) load(ctx context.Context) (err error) {
	s.Progress(fmt.Sprintf("load for %v", s.Duration))
	ctx, cancel := context.WithTimeout(ctx, s.Duration)
	defer cancel()
	var wg sync.WaitGroup
	for _, o := range s.owners {
		wg.Go(func() { o.often(ctx, visitEvery, o.visit) })
	}
	for _, r := range s.requesters {
		wg.Go(func() { r.often(ctx, time.Duration(requesters/s.Rate*float64(time.Second)), r.act) })
	}
	if s.Faults {
		s.chaos.set(true)
		defer s.chaos.set(false)
		wg.Go(func() {
			if err = s.crash(ctx); err != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return err
}

// patience is how long settling may take beyond the life of a delivery and the fence. To find a lost trigger takes 30 s, the
// lease of a push whose function was killed 15 s; the rest is for busy machines, since nothing waits for it to pass.
const patience = 3 * time.Minute

// settle waits until everything has come to its end: all requesters come online and stay, and whatever is still under way
// is delivered or expires. What has not ended when patience does is for the judge.
func (s *soak) settle(ctx context.Context) error {
	s.Progress(fmt.Sprintf("settling, which takes at most %v more", s.Life+keypackage.Fence+patience))
	ctx, cancel := context.WithTimeout(ctx, s.Life+keypackage.Fence+patience)
	defer cancel()
	var all errgroup.Group
	for _, r := range s.requesters {
		all.Go(func() error { return r.until(ctx, r.stay) })
	}
	if err := all.Wait(); err != nil {
		return fmt.Errorf("a requester cannot come back: %w", err)
	}
	for {
		done, err := s.settled(ctx)
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		if retry.Pause(ctx, 500*time.Millisecond) != nil {
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return nil
		}
	}
}

// settled reports whether every delivery has ended, every request is answered, and none is looked for any more: a mark that a
// killed instance has left behind is found after 30 s.
func (s *soak) settled(ctx context.Context) (bool, error) {
	state, err := invariants.Load(ctx, s.documents, s.Config().Collections)
	if err != nil {
		return false, err
	}
	for _, marked := range state.Requests {
		if marked {
			return false, nil
		}
	}
	for _, d := range state.Deliveries {
		if d.Open() {
			return false, nil
		}
	}
	for _, r := range s.history.requests(state) {
		if !state.Answers[r.ID].Complete() {
			return false, nil
		}
	}
	return true, nil
}

// requests returns those that must have an outcome: accepted by the relay, or stored although the relay did not say so.
func (h *history) requests(state invariants.State) (requests []invariants.Request) {
	h.note(func() {
		for id, ask := range h.asks {
			if _, stored := state.Requests[id]; stored || ask.accepted {
				requests = append(requests, ask.Request)
			}
		}
	})
	return requests
}
