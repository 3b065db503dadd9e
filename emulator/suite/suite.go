// Package suite runs the whole system on one machine: the official emulators, the three functions and a relay as
// processes of their own, and between them stand-ins for what Google's cloud does (package gateway, package identity).
//
// Start wires it, in this order:
//
//	emulators -> identity -> topic and subscriptions -> relay -> functions and their authenticators -> trigger -> tick
//
// and Stop takes it down in reverse. No state survives.
package suite

import (
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
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/cloud"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// The entry points of the three functions.
const (
	Claim   = "ClaimKeyPackages"
	Deliver = "DeliverKeyPackages"
	Expire  = "ExpireDeliveries"
)

// Names of what else runs, see [Suite.Log] and [Suite.Restart].
const (
	Relay   = "relay"
	Gateway = "gateway"
	PubSub  = "pubsub"
)

// Options says what to run. The zero value runs everything on free ports, from this program's own binary.
type Options struct {
	// Binary is the program that is started as `<binary> function <entry point>` and `<binary> relay ...`.
	// "" is the running one.
	Binary string

	Project     string            // "" makes up a new one
	FunctionEnv map[string]string // settings of the functions, beside those that the suite itself decides
	RelayURL    string            // delivery endpoint of a relay of the caller's; "" starts the reference relay
	RelayCompat bool              // starts the reference relay with its compatibility setting
	RelayLegacy bool              // starts it as a relay that writes KeyPackages without the signed event
	Ports       Ports
	TickEvery   time.Duration // interval of ExpireDeliveries; 0 is 2 s, negative is only on demand

	// Emulators is a running pair to share; Stop leaves it alone. Nil starts a pair.
	Emulators *emulators.Emulators

	// Middleware is put in front of each function, inside its authenticator: the place for faults. May be nil.
	Middleware func(entryPoint string, function http.Handler) http.Handler

	// RelayFront is put in front of the delivery endpoint of the reference relay, for the same purpose. May be nil.
	RelayFront func(relay http.Handler) http.Handler

	Dir      string       // for logs; "" is a temporary directory that Stop removes
	Progress func(string) // told what is happening; may be nil, must allow concurrent calls
}

// Ports on 127.0.0.1. 0 chooses a free one.
type Ports struct {
	Relay, Firestore, PubSub, Claim, Deliver, Expire int
}

const defaultTick = 2 * time.Second

// Suite is the running system. Its methods are safe for concurrent use.
type Suite struct {
	opts         Options
	dir          string
	log          *slog.Logger // the gateway's
	config       config.Config
	emulators    *emulators.Emulators
	issuer       *identity.Issuer
	scheduler    *cloud.Scheduler
	relayURL     string            // the delivery endpoint
	socketURL    string            // the relay for Nostr clients
	pushURL      string            // where the delivery topic's subscription pushes to
	functionURLs map[string]string // by entry point
	children     map[string]*child // by entry point, and Relay
	failed       chan error

	restarting sync.Mutex // of the Pub/Sub emulator

	stopOnce sync.Once
	stopErr  error
	cleanup  []func() error // run last to first
}

// Start starts everything and returns when all of it serves. The caller must call Stop. ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Suite, error) {
	s := &Suite{
		opts:         opts,
		functionURLs: map[string]string{},
		children:     map[string]*child{},
		failed:       make(chan error, 1),
	}
	for _, step := range []func(context.Context) error{
		s.prepare, s.checkSettings, s.startEmulators, s.startIdentity, s.listenForFunctions, s.configure, s.servePushes, s.createTopics,
		s.startRelay, s.startFunctions, s.registerTrigger, s.startTick,
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

func (s *Suite) progress(format string, args ...any) {
	if s.opts.Progress != nil {
		s.opts.Progress(fmt.Sprintf(format, args...))
	}
}

// Emulators is the running pair.
func (s *Suite) Emulators() *emulators.Emulators { return s.emulators }

// Config is what the functions are configured with.
func (s *Suite) Config() config.Config { return s.config }

// Failed receives an error when a process ends that nobody stopped.
func (s *Suite) Failed() <-chan error { return s.failed }

// Tick calls ExpireDeliveries now, as Cloud Scheduler does, and returns its answer, a JSON object.
func (s *Suite) Tick(ctx context.Context) ([]byte, error) { return s.scheduler.Tick(ctx) }

// Log returns what a process has written so far: an entry point, Relay, Gateway or, if the suite has its own, PubSub.
func (s *Suite) Log(name string) ([]byte, error) { return os.ReadFile(s.logFile(name)) }

func (s *Suite) logFile(name string) string { return filepath.Join(s.dir, name+".log") }

// PID returns the id of the process that serves an entry point or Relay now; 0 if there is none of that name.
func (s *Suite) PID(name string) int {
	if c, ok := s.children[name]; ok {
		return c.pid()
	}
	return 0
}

// Restart kills a process, an entry point, Relay or PubSub, as a crash would, and starts it again at the same address. All
// messages end with the Pub/Sub emulator; only a suite that has its own may restart it.
func (s *Suite) Restart(ctx context.Context, name string) error {
	if name == PubSub {
		return s.restartPubSub(ctx)
	}
	c, ok := s.children[name]
	if !ok {
		return fmt.Errorf("restart: no process is called %q", name)
	}
	if err := c.kill(); err != nil {
		return err
	}
	return c.start(ctx)
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
	if s.opts.TickEvery == 0 {
		s.opts.TickEvery = defaultTick
	}
	s.dir = s.opts.Dir
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "suite-"); err != nil {
			return err
		}
		s.onStop(func() error { return os.RemoveAll(s.dir) })
	}
	log, err := os.Create(s.logFile(Gateway))
	if err != nil {
		return err
	}
	s.onStop(log.Close)
	s.log = slog.New(slog.NewJSONHandler(log, nil))
	return nil
}
