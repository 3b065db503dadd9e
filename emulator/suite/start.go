package suite

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/identity"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite/cloud"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// Accounts that call the functions, as a deployment would name them.
const (
	triggerAccount   = "keypackage-trigger"
	pushAccount      = "keypackage-push"
	schedulerAccount = "keypackage-scheduler"
)

func (s *Suite) startEmulators(ctx context.Context) error {
	if s.opts.Emulators != nil {
		s.emulators = s.opts.Emulators
		return nil
	}
	s.opts.Progress("starting the Firestore and Pub/Sub emulators")
	running, err := emulators.Start(ctx, emulators.Options{
		FirestorePort: s.opts.Ports.Firestore,
		PubSubPort:    s.opts.Ports.PubSub,
		LogDir:        s.dir,
		Progress:      s.opts.Progress,
	})
	if err != nil {
		return err
	}
	s.emulators = running
	s.onStop(running.Stop)
	return nil
}

func (s *Suite) startIdentity(context.Context) error {
	issuer, err := identity.Start(s.opts.Project)
	if err != nil {
		return err
	}
	s.issuer = issuer
	s.onStop(issuer.Stop)
	return nil
}

// listenForFunctions gives every function its public address, with a process behind it that is yet to be started.
func (s *Suite) listenForFunctions(context.Context) error {
	for _, f := range []struct {
		entryPoint string
		port       int
		invoker    string
	}{
		{Claim, s.opts.Ports.Claim, triggerAccount},
		{Deliver, s.opts.Ports.Deliver, pushAccount},
		{Expire, s.opts.Ports.Expire, schedulerAccount},
	} {
		listener, err := process.Listen(f.port)
		if err != nil {
			return fmt.Errorf("%s: %w", f.entryPoint, err)
		}
		backend, err := s.addFunction(f.entryPoint, 0)
		if err != nil {
			return err
		}
		var function http.Handler = cloud.NewProxy(backend.Addr())
		if s.opts.Middleware != nil {
			function = s.opts.Middleware(f.entryPoint, function)
		}
		url := "http://" + listener.Addr().String()
		s.addresses.Functions[f.entryPoint] = url
		s.serve(listener, cloud.NewAuthenticator(s.issuer, url, s.issuer.Account(f.invoker), function))
	}
	return nil
}

// checkSettings finds wrong settings before anything is started. What follows from what is started is not known yet.
func (s *Suite) checkSettings(context.Context) error {
	env := map[string]string{config.Project: s.opts.Project, config.RelayDeliveryURL: "http://127.0.0.1" + relayapi.Path}
	s.addChosen(env)
	_, err := load(env)
	return err
}

// addChosen adds the settings that the options choose.
func (s *Suite) addChosen(env map[string]string) {
	maps.Copy(env, s.opts.FunctionEnv)
	if s.opts.RequestsServedBy != "" {
		env[config.RequestsServedBy] = string(s.opts.RequestsServedBy)
	}
	if s.opts.RelayDeliveryURL != "" {
		env[config.RelayDeliveryURL] = s.opts.RelayDeliveryURL
	}
	if s.opts.Upstream != "" && s.opts.Upstream != NoUpstream {
		env[config.UpstreamRelayURL] = s.opts.Upstream
	}
}

func load(env map[string]string, required ...string) (config.Config, error) {
	settings, err := config.Load(func(name string) (string, bool) { value, ok := env[name]; return value, ok }, required...)
	if err != nil {
		err = fmt.Errorf("settings of the functions: %w", err)
	}
	return settings, err
}

// configure decides the settings of the functions and the gateway, and their addresses, which are among them.
func (s *Suite) configure(context.Context) error {
	if err := s.locateRelay(); err != nil {
		return err
	}
	env := s.environment()
	var err error
	if s.config, err = load(env, config.RelayDeliveryURL); err != nil {
		return err
	}
	env[config.RelayAudience] = s.config.RelayAudience
	for _, c := range s.children {
		for name, value := range env {
			c.Env = append(c.Env, name+"="+value)
		}
	}
	s.addresses.Metadata, s.addresses.Logs = s.issuer.Host(), s.dir
	s.addresses.Firestore, s.addresses.PubSub = s.emulators.Firestore.Addr(), s.emulators.PubSub.Addr()
	s.addresses.Project, s.addresses.Database, s.addresses.Topic = s.config.Project, s.config.Database, s.config.DeliveryTopic
	return nil
}

// locateRelay gives the gateway and what is behind it their addresses, with processes that are yet to be started.
func (s *Suite) locateRelay() error {
	if s.opts.RelayDeliveryURL != "" {
		s.addresses.RelayDelivery, s.addresses.Relay = s.opts.RelayDeliveryURL, websocketURL(s.opts.RelayDeliveryURL)
		return nil
	}
	switch s.opts.Upstream {
	case "":
		upstream, err := s.add(Upstream, 0, func(addr string) []string { return []string{"upstream", addr} })
		if err != nil {
			return err
		}
		s.addresses.Upstream = "ws://" + upstream.Addr()
	case NoUpstream:
	default:
		s.addresses.Upstream = s.opts.Upstream
	}
	gateway, err := s.addFunction(Gateway, s.opts.Ports.Gateway)
	if err != nil {
		return err
	}
	gateway.Ready = process.ServesHTTP("http://" + gateway.Addr()) // what needs Firestore is built then
	endpoint := gateway.Addr()
	s.addresses.Relay = "ws://" + endpoint
	if s.opts.EndpointFront != nil {
		front, err := process.Listen(0)
		if err != nil {
			return err
		}
		s.serve(front, s.opts.EndpointFront(cloud.NewProxy(endpoint)))
		endpoint = front.Addr().String()
	}
	s.addresses.RelayDelivery = "http://" + endpoint + relayapi.Path
	return nil
}

// add adds a process that is yet to be started, at a port, which must be free; 0 chooses one.
func (s *Suite) add(name string, port int, args func(addr string) []string) (*process.Process, error) {
	port, err := process.ChoosePort(port)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &process.Process{
		Name: name, Path: s.opts.Binary, Args: args(process.Addr(port)), Env: []string{fmt.Sprint("PORT=", port)},
		LogFile: s.LogFile(name), Port: port, Failed: s.failed,
	}
	s.children[name] = p
	s.onStop(p.Stop)
	return p, nil
}

func (s *Suite) addFunction(entryPoint string, port int) (*process.Process, error) {
	return s.add(entryPoint, port, func(string) []string { return []string{"function", entryPoint} })
}

// environment is the whole environment of a child: nothing of the developer's, so that the same run is the same everywhere.
// HOME leads away from the developer's own Google credentials, which would be found before the metadata server.
func (s *Suite) environment() map[string]string {
	env := map[string]string{
		"HOME":                    s.dir,
		"GCE_METADATA_HOST":       s.issuer.Host(),
		"FIRESTORE_EMULATOR_HOST": s.emulators.Firestore.Addr(),
		"PUBSUB_EMULATOR_HOST":    s.emulators.PubSub.Addr(),
		config.Project:            s.opts.Project,
		config.RelayDeliveryURL:   s.addresses.RelayDelivery,
		config.UpstreamRelayURL:   s.addresses.Upstream,
		config.DeliveryCaller:     s.issuer.FunctionAccount(),
	}
	s.addChosen(env)
	return env
}

// startChildren starts our own processes, the relay behind the gateway first.
func (s *Suite) startChildren(ctx context.Context) error {
	s.opts.Progress("starting the functions and the gateway")
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

// registerTrigger has every document created in the requests collection brought to ClaimKeyPackages.
func (s *Suite) registerTrigger(ctx context.Context) error {
	eventarc := cloud.NewEventarc(s.caller(Claim, triggerAccount), s.log)
	trigger := emulators.Trigger{
		ID: "claim", Project: s.config.Project, Database: s.config.Database,
		Document: s.config.Collections.Requests + "/{id}",
	}
	s.onStop(func() error { s.emulators.Forget(trigger); eventarc.Stop(); return nil })
	return s.emulators.OnCreate(ctx, trigger, eventarc)
}

// startTick calls ExpireDeliveries at its interval, never twice at once.
func (s *Suite) startTick(context.Context) error {
	if s.opts.TickEvery < 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for tick := time.Tick(s.opts.TickEvery); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
			}
			if _, err := s.Tick(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("tick failed", "error", err)
			}
		}
	})
	s.onStop(func() error { cancel(); running.Wait(); return nil })
	return nil
}

func (s *Suite) caller(entryPoint, account string) cloud.Caller {
	return cloud.Caller{Minter: s.issuer, URL: s.addresses.Functions[entryPoint], Account: s.issuer.Account(account)}
}

// serve answers with handler until the suite stops.
func (s *Suite) serve(listener net.Listener, handler http.Handler) {
	s.onStop(process.Serve(listener, handler).Close)
}
