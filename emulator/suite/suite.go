// Package suite runs the whole system on one machine: the official emulators, the functions and the gateway, with an ordinary
// relay behind it, as processes of their own, and between them stand-ins for what Google's cloud does (package cloud, package
// identity).
//
// Start wires it, in this order:
//
//	emulators -> identity -> topics and subscriptions -> upstream -> functions, their authenticators, gateway -> trigger -> tick
//
// and Stop takes it down in reverse. No state survives.
package suite

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/cloud"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// The entry points: of the three functions, and of the gateway.
const (
	Claim   = "ClaimKeyPackages"
	Deliver = "DeliverKeyPackages"
	Expire  = "ExpireDeliveries"
	Gateway = "RelayGateway"
)

// Names of what else runs, see [Suite.Log] and [Suite.Restart].
const (
	Upstream = "upstream"
	PubSub   = "pubsub"
	Cloud    = "cloud" // the stand-ins, which are no process
)

// NoUpstream is the value of [Options] for a gateway without a relay behind it.
const NoUpstream = "none"

// Options says what to run. The zero value runs everything on free ports, from this program's own binary.
type Options struct {
	// Binary is the program that is started as `<binary> function <entry point>` and `<binary> upstream <address>`.
	// "" is the running one.
	Binary string

	Project          string            // "" makes up a new one
	FunctionEnv      map[string]string // settings of the functions and the gateway, beside those that the suite itself decides
	Upstream         string            // websocket URL of the relay behind the gateway, or NoUpstream; "" starts an ordinary one
	RequestsServedBy config.ServedBy   // "" is what FunctionEnv or the default says
	RelayDeliveryURL string            // delivery endpoint of a relay of the caller's, which then stands in the gateway's place
	Ports            Ports
	TickEvery        time.Duration // interval of ExpireDeliveries; 0 is 2 s, negative is only on demand

	// Emulators is a running pair to share; Stop leaves it alone. Nil starts a pair.
	Emulators *emulators.Emulators

	// Middleware is put in front of each function, inside its authenticator: the place for faults. May be nil.
	Middleware func(entryPoint string, function http.Handler) http.Handler

	// EndpointFront is put in front of the gateway's delivery endpoint, for the same purpose. May be nil.
	EndpointFront func(endpoint http.Handler) http.Handler

	Dir      string       // for logs; "" is a temporary directory that Stop removes
	Progress func(string) // told what is happening; may be nil, must allow concurrent calls
}

// Ports on 127.0.0.1. 0 chooses a free one.
type Ports struct {
	Gateway, Firestore, PubSub, Claim, Deliver, Expire int
}

const defaultTick = 2 * time.Second

// Suite is the running system. Its methods are safe for concurrent use.
type Suite struct {
	opts      Options
	dir       string
	log       *slog.Logger // of the stand-ins
	config    config.Config
	emulators *emulators.Emulators
	issuer    *identity.Issuer
	addresses Addresses
	pushURL   string                      // where the delivery topic's subscription pushes to
	children  map[string]*process.Process // by entry point, and Upstream
	failed    chan error

	restarting sync.Mutex // of the Pub/Sub emulator

	stopOnce sync.Once
	stopErr  error
	cleanup  []func() error // run last to first
}

// Start starts everything and returns when all of it serves. The caller must call Stop. ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Suite, error) {
	s := &Suite{
		opts: opts, addresses: Addresses{Functions: map[string]string{}},
		children: map[string]*process.Process{}, failed: make(chan error, 1),
	}
	for _, step := range []func(context.Context) error{
		s.prepare, s.checkSettings, s.startEmulators, s.startIdentity, s.listenForFunctions, s.configure, s.servePushes, s.createTopics,
		s.startChildren, s.registerTrigger, s.startTick,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// Stop ends everything that Start started and returns when no process is left. It may be called more than once.
func (s *Suite) Stop() error {
	s.stopOnce.Do(func() {
		for _, undo := range slices.Backward(s.cleanup) {
			s.stopErr = errors.Join(s.stopErr, undo())
		}
	})
	return s.stopErr
}

func (s *Suite) onStop(undo func() error) { s.cleanup = append(s.cleanup, undo) }

// Emulators is the running pair.
func (s *Suite) Emulators() *emulators.Emulators { return s.emulators }

// Config is what the functions are configured with.
func (s *Suite) Config() config.Config { return s.config }

// Failed receives an error when a process ends that nobody stopped.
func (s *Suite) Failed() <-chan error { return s.failed }

// Tick calls ExpireDeliveries now, as Cloud Scheduler does, and returns its answer, a JSON object.
func (s *Suite) Tick(ctx context.Context) ([]byte, error) {
	return cloud.Tick(ctx, s.caller(Expire, schedulerAccount))
}

// Log returns what a process has written so far: an entry point, Upstream, Cloud or, if the suite has its own, PubSub.
func (s *Suite) Log(name string) ([]byte, error) { return os.ReadFile(s.LogFile(name)) }

// LogFile is where Log is written.
func (s *Suite) LogFile(name string) string { return filepath.Join(s.dir, name+".log") }

// PID returns the id of the process that serves an entry point or Upstream now; 0 if there is none of that name.
func (s *Suite) PID(name string) int {
	if c, ok := s.children[name]; ok {
		return c.PID()
	}
	return 0
}

// Restart kills a process, an entry point, Upstream or PubSub, as a crash would, and starts it again at the same address. All
// messages end with the Pub/Sub emulator; only a suite that has its own may restart it.
func (s *Suite) Restart(ctx context.Context, name string) error {
	if name == PubSub {
		return s.restartPubSub(ctx)
	}
	c, ok := s.children[name]
	if !ok {
		return fmt.Errorf("restart: no process is called %q", name)
	}
	return errors.Join(c.Kill(), c.Start(ctx))
}

// prepare fills in what the options leave open.
func (s *Suite) prepare(context.Context) (err error) {
	if s.opts.Binary == "" {
		if s.opts.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if s.opts.Project == "" {
		s.opts.Project = "local-" + strings.ToLower(rand.Text()[:20])
	}
	s.opts.TickEvery = cmp.Or(s.opts.TickEvery, defaultTick)
	if s.opts.Progress == nil {
		s.opts.Progress = func(string) {}
	}
	s.dir = s.opts.Dir
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "suite-"); err != nil {
			return err
		}
		s.onStop(func() error { return os.RemoveAll(s.dir) })
	}
	log, err := os.Create(s.LogFile(Cloud))
	if err != nil {
		return err
	}
	s.onStop(log.Close)
	s.log = slog.New(slog.NewJSONHandler(log, nil))
	return nil
}
