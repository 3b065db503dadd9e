// Package suite runs the whole system on one machine: the official emulators, the functions and the gateway, with an ordinary
// relay behind it, as processes of their own, and between them stand-ins for what Google's cloud does, which make good what the
// emulators leave out, so that retries, duplicates and authentication are exercised as in the cloud:
//
//	Firestore emulator -> eventarc \
//	Pub/Sub emulator   -> push      > ID token -> authenticator -> function process
//	clock              -> tick     /
package suite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/pubsub/v2"
	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	_ "github.com/keypackage-delivery/keypackage-delivery" // registers the functions, as in the cloud
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/functions/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// Names of what runs, see [Suite.LogFile] and [Suite.Restart].
const (
	Claim    = "ClaimKeyPackages" // this and the next three are entry points
	Deliver  = "DeliverKeyPackages"
	Expire   = "ExpireDeliveries"
	Gateway  = "RelayGateway"
	Upstream = "upstream"
	PubSub   = "pubsub"
	Cloud    = "cloud" // the stand-ins, which are no process
)

// NoUpstream is the value of [Options] for a gateway without a relay behind it.
const NoUpstream = "none"

// Options says what to run. The zero value runs everything on free ports, from this program's own binary.
type Options struct {
	Binary           string            // the program whose main calls Serve; "" is the running one
	Project          string            // "" makes up a new one
	FunctionEnv      map[string]string // settings of the functions and the gateway, beside those that the suite itself decides
	Upstream         string            // websocket URL of the relay behind the gateway, or NoUpstream; "" starts an ordinary one
	RequestsServedBy config.ServedBy   // "" is what FunctionEnv or the default says
	RelayDeliveryURL string            // delivery endpoint of a relay of the caller's, which then stands in the gateway's place
	Ports            Ports
	TickEvery        time.Duration        // interval of ExpireDeliveries; 0 is 2 s, negative is only on demand
	Emulators        *emulators.Emulators // a running pair to share, which Stop leaves alone; nil starts one
	Dir              string               // for logs; "" is a temporary directory that Stop removes
	Progress         func(string)         // told what is happening; may be nil, must allow concurrent calls

	// Put in front of each function, inside its authenticator, and of the gateway's delivery endpoint, for faults. Each may be nil.
	Middleware    func(entryPoint string, function http.Handler) http.Handler
	EndpointFront func(endpoint http.Handler) http.Handler
}

// Ports on 127.0.0.1. 0 chooses a free one.
type Ports struct{ Gateway, Firestore, PubSub, Claim, Deliver, Expire int }

// Addresses is where everything is reached, and what it is called.
type Addresses struct {
	Relay         string            `json:"relay"`          // for Nostr clients, ws://
	RelayDelivery string            `json:"relay_delivery"` // for DeliverKeyPackages
	Upstream      string            `json:"upstream"`       // the relay behind the gateway, ws://; "" is none
	Firestore     string            `json:"firestore"`      // host:port, for FIRESTORE_EMULATOR_HOST
	PubSub        string            `json:"pubsub"`         // host:port, for PUBSUB_EMULATOR_HOST
	Functions     map[string]string `json:"functions"`      // URL by entry point
	Metadata      string            `json:"metadata"`       // host:port, for GCE_METADATA_HOST
	Project       string            `json:"project"`
	Database      string            `json:"database"`
	Topic         string            `json:"topic"`
	Logs          string            `json:"logs"` // directory
}

// Suite is the running system. Its methods are safe for concurrent use.
type Suite struct {
	opts      Options           // with what they left open
	log       *slog.Logger      // of the stand-ins
	env       map[string]string // settings of the functions and the gateway
	config    config.Config     // the same
	emulators *emulators.Emulators
	issuer    *identity.Issuer
	addresses Addresses
	pubsub    *pubsub.Client
	pushURL   string                      // where the delivery topic's subscription pushes to
	children  map[string]*process.Process // by entry point, and Upstream
	failed    chan error

	mu      sync.Mutex     // held by Stop and by a restart
	cleanup []func() error // run last to first
}

// Start starts everything and returns when all of it serves. The caller must call Stop. ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Suite, error) {
	s := &Suite{
		opts: opts, addresses: Addresses{Functions: map[string]string{}},
		children: map[string]*process.Process{}, failed: make(chan error, 1),
	}
	for _, step := range []func(context.Context) error{
		s.prepare, s.startIdentity, s.configure, // once now, so that wrong settings are told before anything takes its time to start
		s.startEmulators, s.listenForFunctions, s.locateRelay, s.configure, s.startChildren, s.servePushes, s.startTriggers,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// Stop takes everything down that Start started, in reverse, and returns when no process is left. It may be called more than once.
func (s *Suite) Stop() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, undo := range slices.Backward(s.cleanup) {
		err = errors.Join(err, undo())
	}
	s.cleanup = nil
	return err
}

func (s *Suite) onStop(undo func() error) { s.cleanup = append(s.cleanup, undo) }

// Addresses returns the addresses of a started suite.
func (s *Suite) Addresses() Addresses { return s.addresses }

// Emulators is the running pair.
func (s *Suite) Emulators() *emulators.Emulators { return s.emulators }

// Config is what the functions are configured with.
func (s *Suite) Config() config.Config { return s.config }

// Failed receives an error when a process ends that nobody stopped.
func (s *Suite) Failed() <-chan error { return s.failed }

// Tick calls ExpireDeliveries now, as Cloud Scheduler does.
func (s *Suite) Tick(ctx context.Context) error { return s.caller(Expire).tick(ctx) }

// LogFile is where a process writes: an entry point, Upstream, Cloud or, if the suite has its own, PubSub.
func (s *Suite) LogFile(name string) string { return filepath.Join(s.opts.Dir, name+".log") }

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
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.children[name]
	if name == PubSub {
		c, ok = s.emulators.PubSub, s.opts.Emulators == nil
	}
	if !ok {
		return fmt.Errorf("restart: no process of this suite is called %q", name)
	}
	c.Kill()
	if err := c.Start(ctx); err != nil || name != PubSub {
		return err
	}
	return s.createTopics(ctx) // which have ended with it
}

// Documents connects to the suite's database; close the client when done.
func (s *Suite) Documents(ctx context.Context) (*firestore.Client, error) {
	return firestore.NewClientWithDatabase(ctx, s.config.Project, s.config.Database, emulatorAt(s.addresses.Firestore)...)
}

// emulatorAt leads a Google client to an emulator. The environment, by which it would find one, belongs to the whole process.
func emulatorAt(addr string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(addr),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// Serve turns this program into one of the suite's processes if its arguments say so, and then does not return. A program
// that starts a suite from its own binary calls it first.
func Serve() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		name := os.Args[2]
		command.Main(name, func(ctx context.Context, _ []string) error { return serve(ctx, name, "127.0.0.1", os.Getenv("PORT")) })
	}
}

// serve serves an entry point, the way the buildpack's generated main does, or the relay behind the gateway, until ctx ends. The
// framework knows no shutdown, and neither does the cloud wait for one; only the gateway ends by itself.
func serve(ctx context.Context, name, host, port string) error {
	if name == Gateway {
		gateway.Issuer = identity.At(os.Getenv("GCE_METADATA_HOST"))
	} else {
		context.AfterFunc(ctx, func() { os.Exit(0) })
	}
	if name == Upstream {
		return http.ListenAndServe(host+":"+port, upstream.New())
	}
	if err := os.Setenv("FUNCTION_TARGET", name); err != nil {
		return err
	}
	return funcframework.StartHostPort(host, port)
}
