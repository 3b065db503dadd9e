// Command soak runs the whole local suite for a while under load, with faults if wanted: owners upload, delete and repeat
// KeyPackages, requesters ask, come and go, calls are lost, doubled and broken, processes die. Then everything comes to its end
// and is held against the promises.
//
// What people and faults decide comes from a seed. When it happens is up to the machine, so the same seed makes a similar
// run, not the same one.
//
//	go run ./tests/soak -duration 1m -faults
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/child"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

func main() {
	child.Serve() // the suite runs its processes from this program
	command.Main("soak", runSoak)
}

// runSoak runs a soak and prints what it came to. It fails unless every promise was kept.
func runSoak(ctx context.Context, args []string) error {
	// A lost message is repeated in the life of its delivery.
	opts := Options{Life: time.Minute, CrashEvery: 7 * time.Second, Progress: command.Progress}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&opts.Duration, "duration", time.Minute, "how long the load lasts; settling and judging come on top")
	flags.BoolVar(&opts.Faults, "faults", false, "lose, double and break calls, and kill processes")
	flags.Uint64Var(&opts.Seed, "seed", 1, "what people and faults decide comes from it")
	flags.Float64Var(&opts.Rate, "rate", 5, "requests per second")
	flags.StringVar((*string)(&opts.ServedBy), "served-by", string(config.ServedByFunctions), "who serves requests: functions or gateway")
	flags.StringVar(&opts.Logs, "logs", "", "existing directory in which the logs of all processes stay")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	switch { // a run without requests keeps every promise
	case opts.Duration <= 0:
		return fmt.Errorf("-duration is %v; it must be above zero", opts.Duration)
	case !(opts.Rate > 0) || math.IsInf(opts.Rate, 0): // NaN is not above zero either
		return fmt.Errorf("-rate is %v; it must be a number above zero", opts.Rate)
	}
	report, err := Run(ctx, opts)
	if err != nil {
		return err
	}
	report.Print(os.Stdout)
	switch {
	case len(report.Broken) > 0:
		return errors.New("promises were broken")
	case !report.OK():
		return errors.New("there was no request, so nothing was seen")
	}
	return nil
}

const (
	// tickEvery is often, so that everything ends soon, and seldom enough that repeated nudges do not become the load: the
	// emulator has two pushes in flight at most.
	tickEvery = 5 * time.Second
	// entryTime bounds the entry: a busy machine needs more than one visit's time for it.
	entryTime = 5 * time.Minute
	// patience is how long settling may take beyond the life of a delivery and the fence. To find a lost trigger takes 30 s, the
	// lease of a push whose function was killed 15 s; the rest is for busy machines, since nothing waits for it to pass.
	patience = 3 * time.Minute
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
	*history
	documents  *firestore.Client
	owners     []*owner
	pubkeys    []string // the owners'
	requesters []*requester
	begun      time.Time // the load
	report     *Report
}

// Run runs a soak and reports on it. The error says that the run itself failed; broken promises are in the report.
func Run(ctx context.Context, opts Options) (report *Report, err error) {
	if opts.Logs == "" {
		if opts.Logs, err = os.MkdirTemp("", "soak-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(opts.Logs)) }()
	}
	s := &soak{Options: opts, history: newHistory(opts.Seed)}
	s.Suite, err = suite.Start(ctx, suite.Options{
		Binary: s.Binary, Dir: s.Logs, Progress: s.Progress, TickEvery: tickEvery, RequestsServedBy: s.ServedBy,
		Middleware: s.inFrontOf, EndpointFront: s.inFrontOfRelay,
		FunctionEnv: map[string]string{
			"DELIVERY_TTL":          s.Life.String(),
			"PAIR_LIMIT_PER_HOUR":   "10000", // the limits have tests of their own, and would end the load after minutes
			"OWNER_BUDGET_PER_HOUR": "100000",
		},
	})
	if err != nil {
		return nil, err
	}
	if s.documents, err = s.Documents(ctx); err == nil {
		defer s.documents.Close()
		err = s.play(ctx)
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		return nil, err
	}
	return s.report, s.searchLogs(s.report) // after the last word was written
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
		err := part(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enter brings everybody in: owners fill their stock before anybody asks.
func (s *soak) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, entryTime)
	defer cancel()
	s.populate()
	var all errgroup.Group
	for _, o := range s.owners {
		all.Go(func() error { return until(ctx, o.visit) })
	}
	return all.Wait()
}

// load plays the load until its time is over, ctx ends, or a crash could not be made good.
func (s *soak) load(ctx context.Context) error {
	s.Progress(fmt.Sprintf("load for %v", s.Duration))
	s.begun = time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Duration)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	for _, o := range s.owners {
		all.Go(func() error { return o.often(ctx, visitEvery, o.visit) })
	}
	for _, r := range s.requesters {
		all.Go(func() error { return r.often(ctx, time.Duration(requesters/s.Rate*float64(time.Second)), r.act) })
	}
	if s.Faults {
		s.disturbed.Store(true)
		defer s.disturbed.Store(false)
		all.Go(func() error { return s.crash(ctx) })
	}
	return all.Wait()
}

// settle waits until everything has come to its end, and judges it: all requesters come online and stay, and whatever is still
// under way is delivered or expires. What has not ended when patience does is broken.
func (s *soak) settle(ctx context.Context) error {
	most := s.Life + keypackage.Fence + patience
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
	for {
		ended, err := s.judge(ctx)
		if ended || err != nil || retry.Pause(bounded, 500*time.Millisecond) != nil {
			return err
		}
	}
}
