package suite

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// invokers are the accounts that call the functions, as a deployment would name them.
var invokers = map[string]string{Claim: "keypackage-trigger", Deliver: "keypackage-push", Expire: "keypackage-scheduler"}

// prepare fills in what the options leave open.
func (s *Suite) prepare(context.Context) (err error) {
	s.opts.Binary = cmp.Or(s.opts.Binary, os.Args[0])
	s.opts.Project = cmp.Or(s.opts.Project, "local-"+strings.ToLower(rand.Text()[:20]))
	s.opts.TickEvery = cmp.Or(s.opts.TickEvery, 2*time.Second)
	if s.opts.Progress == nil {
		s.opts.Progress = func(string) {}
	}
	if s.opts.Dir == "" {
		if s.opts.Dir, err = os.MkdirTemp("", "suite-"); err != nil {
			return err
		}
		s.onStop(func() error { return os.RemoveAll(s.opts.Dir) })
	}
	s.addresses.Logs = s.opts.Dir
	s.addresses.RelayDelivery = cmp.Or(s.opts.RelayDeliveryURL, "http://127.0.0.1"+relayapi.Path) // until the gateway has a port
	if s.opts.Upstream != NoUpstream {
		s.addresses.Upstream = s.opts.Upstream
	}
	log, err := os.Create(s.LogFile(Cloud))
	if err != nil {
		return err
	}
	s.onStop(log.Close)
	s.log = slog.New(slog.NewJSONHandler(log, nil))
	return nil
}

func (s *Suite) startIdentity(context.Context) (err error) {
	if s.issuer, err = identity.Start(s.opts.Project); err != nil {
		return err
	}
	s.addresses.Metadata = s.issuer.Host()
	s.onStop(s.issuer.Stop)
	return nil
}

// listenForFunctions gives every function its public address, with a process behind it that is yet to be started.
func (s *Suite) listenForFunctions(context.Context) error {
	for entryPoint, port := range map[string]int{Claim: s.opts.Ports.Claim, Deliver: s.opts.Ports.Deliver, Expire: s.opts.Ports.Expire} {
		listener, err := process.Listen(port)
		if err != nil {
			return fmt.Errorf("%s: %w", entryPoint, err)
		}
		backend, err := s.add(entryPoint, 0)
		if err != nil {
			return err
		}
		var function http.Handler = newProxy(backend.Addr())
		if s.opts.Middleware != nil {
			function = s.opts.Middleware(entryPoint, function)
		}
		s.addresses.Functions[entryPoint] = "http://" + listener.Addr().String()
		front, err := s.caller(entryPoint).authenticated(function)
		if err != nil {
			return err
		}
		s.serve(listener, front)
	}
	return nil
}

// locateRelay gives the gateway and what is behind it their addresses, with processes that are yet to be started.
func (s *Suite) locateRelay(context.Context) error {
	if s.opts.RelayDeliveryURL != "" {
		relay, err := url.Parse(s.opts.RelayDeliveryURL)
		if err != nil {
			return err
		}
		s.addresses.Relay = strings.Replace(relay.Scheme, "http", "ws", 1) + "://" + relay.Host
		return nil
	}
	if s.opts.Upstream == "" {
		upstream, err := s.add(Upstream, 0)
		if err != nil {
			return err
		}
		s.addresses.Upstream = "ws://" + upstream.Addr()
	}
	gateway, err := s.add(Gateway, s.opts.Ports.Gateway)
	if err != nil {
		return err
	}
	gateway.Ready = process.ServesHTTP // what needs Firestore is built then
	endpoint := gateway.Addr()
	s.addresses.Relay = "ws://" + endpoint
	if s.opts.EndpointFront != nil {
		front, err := process.Listen(0)
		if err != nil {
			return err
		}
		s.serve(front, s.opts.EndpointFront(newProxy(endpoint)))
		endpoint = front.Addr().String()
	}
	s.addresses.RelayDelivery = "http://" + endpoint + relayapi.Path
	return nil
}

// add adds a process that is yet to be started, at a port, which must be free; 0 chooses one.
func (s *Suite) add(name string, port int) (*process.Process, error) {
	port, err := process.FreePort(port)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &process.Process{
		Name: name, Path: s.opts.Binary, Args: []string{"serve", name}, Env: []string{fmt.Sprint("PORT=", port)},
		LogFile: s.LogFile(name), Port: port, Failed: s.failed,
	}
	s.children[name] = p
	s.onStop(func() error { p.Stop(); return nil })
	return p, nil
}

// configure decides the settings of the functions and the gateway.
func (s *Suite) configure(context.Context) (err error) {
	s.env = map[string]string{
		config.Project:          s.opts.Project,
		config.RelayDeliveryURL: s.addresses.RelayDelivery,
		config.UpstreamRelayURL: s.addresses.Upstream,
		config.DeliveryCaller:   s.issuer.FunctionAccount(),
	}
	maps.Copy(s.env, s.opts.FunctionEnv)
	if s.opts.RequestsServedBy != "" {
		s.env[config.RequestsServedBy] = string(s.opts.RequestsServedBy)
	}
	lookup := func(name string) (string, bool) { value, ok := s.env[name]; return value, ok }
	if s.config, err = config.Load(lookup, config.RelayDeliveryURL); err != nil {
		return fmt.Errorf("settings of the functions: %w", err)
	}
	s.env[config.RelayAudience] = s.config.RelayAudience
	s.addresses.Project, s.addresses.Database, s.addresses.Topic = s.config.Project, s.config.Database, s.config.DeliveryTopic
	return nil
}

func (s *Suite) startEmulators(ctx context.Context) (err error) {
	if s.emulators = s.opts.Emulators; s.emulators == nil {
		s.opts.Progress("starting the Firestore and Pub/Sub emulators")
		s.emulators, err = emulators.Start(ctx, emulators.Options{
			FirestorePort: s.opts.Ports.Firestore, PubSubPort: s.opts.Ports.PubSub, LogDir: s.opts.Dir, Progress: s.opts.Progress,
		})
		if err != nil {
			return err
		}
		s.onStop(s.emulators.Stop)
	}
	s.addresses.Firestore, s.addresses.PubSub = s.emulators.Firestore.Addr(), s.emulators.PubSub.Addr()
	return nil
}

// startChildren starts our own processes, the relay behind the gateway first. Their environment has nothing of the developer's, so
// that the same run is the same everywhere. HOME leads away from Google credentials, which would be found before the metadata server.
func (s *Suite) startChildren(ctx context.Context) error {
	s.opts.Progress("starting the functions and the gateway")
	env := map[string]string{
		"HOME":                    s.opts.Dir,
		"GCE_METADATA_HOST":       s.addresses.Metadata,
		"FIRESTORE_EMULATOR_HOST": s.addresses.Firestore,
		"PUBSUB_EMULATOR_HOST":    s.addresses.PubSub,
	}
	maps.Copy(env, s.env)
	for _, c := range s.children {
		for name, value := range env {
			c.Env = append(c.Env, name+"="+value)
		}
	}
	if upstream := s.children[Upstream]; upstream != nil {
		if err := upstream.Start(ctx); err != nil {
			return err
		}
	}
	var group errgroup.Group
	for name, c := range s.children {
		if name != Upstream {
			group.Go(func() error { return c.Start(ctx) })
		}
	}
	return group.Wait()
}

// startTriggers brings every new request to ClaimKeyPackages, and calls ExpireDeliveries at its interval, never twice at once.
func (s *Suite) startTriggers(ctx context.Context) error {
	background, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	s.onStop(func() error { cancel(); running.Wait(); return nil })
	events := &eventarc{s.caller(Claim), s.log, background, &running}
	forget, err := s.emulators.OnCreate(ctx, s.config.Project, s.config.Database, s.config.Collections.Requests, events)
	if err != nil {
		return err
	}
	s.onStop(func() error { forget(); return nil })
	if s.opts.TickEvery < 0 {
		return nil
	}
	running.Go(func() {
		for tick := time.Tick(s.opts.TickEvery); ; {
			select {
			case <-background.Done():
				return
			case <-tick:
			}
			if err := s.Tick(background); err != nil && background.Err() == nil {
				s.log.Warn("tick failed", "error", err)
			}
		}
	})
	return nil
}

func (s *Suite) caller(entryPoint string) caller {
	return caller{s.issuer, s.addresses.Functions[entryPoint], s.issuer.Account(invokers[entryPoint])}
}

// serve answers with handler until the suite stops.
func (s *Suite) serve(listener net.Listener, handler http.Handler) {
	s.onStop(process.Serve(listener, handler).Close)
}
