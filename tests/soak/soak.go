package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// Options says what to run. Duration is required; zero values of the others are good.
type Options struct {
	Duration   time.Duration // of the load; settling and judging come on top
	Seed       uint64
	Owners     int             // 0 is 8
	Requesters int             // 0 is 16
	Rate       float64         // requests per second, of all requesters together; 0 is 5
	Life       time.Duration   // of a pending delivery; 0 is one minute, so that a lost message can be repeated in time
	ServedBy   config.ServedBy // "" is the functions

	Faults       bool
	CrashEvery   time.Duration // mean time between two crashes; 0 is 7 s
	KeepTriggers bool          // no fault loses a trigger: the scheduled function looks for those after 30 s

	Binary   string       // see suite.Options
	Logs     string       // existing directory in which all logs stay; "" is a temporary one
	Progress func(string) // told how it goes; must allow concurrent calls
}

func (o *Options) setDefaults() {
	if o.Owners == 0 {
		o.Owners = 8
	}
	if o.Requesters == 0 {
		o.Requesters = 16
	}
	if o.Rate == 0 {
		o.Rate = 5
	}
	if o.ServedBy == "" {
		o.ServedBy = config.ServedByFunctions
	}
	if o.Life == 0 {
		o.Life = time.Minute
	}
	if o.CrashEvery == 0 {
		o.CrashEvery = 7 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
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
	opts.setDefaults()
	if opts.Logs == "" {
		if opts.Logs, err = os.MkdirTemp("", "soak-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(opts.Logs)) }()
	}
	s := &soak{Options: opts, history: newHistory()}
	s.chaos = newChaos(opts, s.history)
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

// enter brings everybody in: owners fill their stock before anybody asks.
func (s *soak) enter(ctx context.Context) error {
	relay := s.Addresses().Relay
	for i := range s.Owners {
		s.owners = append(s.owners, newOwner(s.Seed, i, relay, s.history))
	}
	for i := range s.Requesters {
		s.requesters = append(s.requesters, newRequester(s.Options, i, relay, s.history, s.owners))
	}
	ctx, cancel := context.WithTimeout(ctx, entryTime)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.owners))
	for i, o := range s.owners {
		wg.Go(func() { errs[i] = o.arrive(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// entryTime bounds the entry: a busy machine needs more than one visit's time for it.
const entryTime = 5 * time.Minute

// load plays the load until its time is over, ctx ends, or a crash could not be made good.
func (s *soak) load(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Duration)
	defer cancel()
	var wg sync.WaitGroup
	for _, o := range s.owners {
		wg.Go(func() { o.live(ctx) })
	}
	for _, r := range s.requesters {
		wg.Go(func() { r.live(ctx) })
	}
	wg.Go(func() { s.tell(ctx) })
	if s.Faults {
		s.chaos.begin()
		wg.Go(func() {
			if err = s.crash(ctx); err != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	s.chaos.end()
	return err
}

// tell shows progress.
func (s *soak) tell(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Progress(fmt.Sprintf("%5s of %s  %s", time.Since(begun).Round(time.Second), s.Duration, s.history.sketch()))
		}
	}
}
