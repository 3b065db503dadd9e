package system

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// patience is how long a test may take. It is long because the machine may be busy; nothing waits for it to pass.
const patience = 3 * time.Minute

// system is a running suite, seen from all sides.
type system struct {
	*suite.Suite
	names     config.Collections
	firestore *firestore.Client
	traffic   *traffic
}

// world is a test on a system. Its methods fail the test when something that has to work does not.
type world struct {
	*system
	t   *testing.T
	ctx context.Context // ends with the test's patience
}

// everyday is a system with the default settings. Tests share it, with people of their own.
var everyday struct {
	sync.Once
	*system
	err error
}

// onEveryday puts a test on the everyday system and lets it run in parallel.
func onEveryday(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	everyday.Do(func() { everyday.system, everyday.err = start(suite.Options{}) })
	if everyday.err != nil {
		t.Fatal(everyday.err)
	}
	return everyday.world(t)
}

func stopEveryday() error {
	if everyday.system == nil {
		return nil
	}
	return everyday.stop()
}

// onOwn starts a system for one test, which then need not fear for the others.
func onOwn(t *testing.T, opts suite.Options) *world {
	t.Helper()
	own, err := start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.stop(); err != nil {
			t.Error(err)
		}
	})
	return own.world(t)
}

// start starts a system on the shared emulators that ticks on demand only. Requests are served by the functions, unless the options
// say otherwise.
func start(opts suite.Options) (*system, error) {
	s := &system{traffic: newTraffic()}
	opts.Binary, opts.Emulators, opts.TickEvery, opts.Middleware = program, pair, -1, s.traffic.watch
	if opts.RequestsServedBy == "" {
		opts.RequestsServedBy = config.ServedByFunctions
	}
	var err error
	if s.Suite, err = suite.Start(context.Background(), opts); err != nil {
		return nil, fmt.Errorf("start a suite: %w", err)
	}
	settings := s.Config()
	s.names = settings.Collections
	s.firestore, err = firestore.NewClientWithDatabase(context.Background(), settings.Project, settings.Database,
		clientOptions(s.Addresses().Firestore)...)
	return s, err
}

// clientOptions lead a client to an emulator, whatever the environment says.
func clientOptions(address string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func (s *system) stop() error {
	_ = s.firestore.Close()
	return s.Stop()
}

// world returns the system for one test, or for a part of one.
func (s *system) world(t *testing.T) *world {
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("gave up after %v", patience))
	t.Cleanup(cancel)
	return &world{system: s, t: t, ctx: ctx}
}

// must fails the test unless err is nil.
func (s *world) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// eventually returns as soon as ok does, and fails the test if that never happens.
func (s *world) eventually(what string, ok func() bool) {
	s.t.Helper()
	const pause = 20 * time.Millisecond
	for !ok() {
		select {
		case <-time.After(pause):
		case err := <-s.Failed():
			s.t.Fatalf("%s was awaited when a process ended: %v", what, err)
		case <-s.ctx.Done():
			s.t.Fatalf("%s: %v", what, context.Cause(s.ctx))
		}
	}
}

// tick has the scheduled function run once.
func (s *world) tick() {
	s.t.Helper()
	err := s.Tick(s.ctx)
	s.must(err)
}
