package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

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
	s.progress("starting the Firestore and Pub/Sub emulators")
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
		if err := s.listenForFunction(f.entryPoint, f.port, s.issuer.Account(f.invoker)); err != nil {
			return fmt.Errorf("%s: %w", f.entryPoint, err)
		}
	}
	return nil
}

func (s *Suite) listenForFunction(entryPoint string, port int, invoker string) error {
	backend, err := process.FreePort()
	if err != nil {
		return err
	}
	listener, err := listen(port)
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	var wrap func(http.Handler) http.Handler
	if s.opts.Middleware != nil {
		wrap = func(function http.Handler) http.Handler { return s.opts.Middleware(entryPoint, function) }
	}
	s.functionURLs[entryPoint] = url
	s.serve(listener, cloud.NewAuthenticator(s.issuer, url, invoker, process.Addr(backend), wrap))
	s.children[entryPoint] = s.functionProcess(entryPoint, backend)
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
		return fmt.Errorf("relay: %w", err)
	}
	env := s.environment()
	var err error
	if s.config, err = load(env, config.RelayDeliveryURL); err != nil {
		return err
	}
	env[config.RelayAudience] = s.config.RelayAudience
	for _, c := range s.children {
		for name, value := range env {
			c.spec.Env = append(c.spec.Env, name+"="+value)
		}
	}
	return nil
}

// locateRelay gives the gateway and what is behind it their addresses, with processes that are yet to be started.
func (s *Suite) locateRelay() error {
	if s.opts.RelayDeliveryURL != "" {
		s.deliveryURL, s.socketURL = s.opts.RelayDeliveryURL, websocketURL(s.opts.RelayDeliveryURL)
		return nil
	}
	if err := s.locateUpstream(); err != nil {
		return err
	}
	port, err := s.gatewayPort()
	if err != nil {
		return err
	}
	endpoint := process.Addr(port)
	s.children[Gateway] = s.functionProcess(Gateway, port)
	s.children[Gateway].ready = process.ServesHTTP("http://" + endpoint) // what needs Firestore is built then
	s.socketURL = "ws://" + endpoint
	if s.opts.EndpointFront != nil {
		front, err := listen(0)
		if err != nil {
			return err
		}
		s.serve(front, s.opts.EndpointFront(cloud.NewProxy(endpoint)))
		endpoint = front.Addr().String()
	}
	s.deliveryURL = "http://" + endpoint + relayapi.Path
	return nil
}

func (s *Suite) locateUpstream() error {
	switch s.opts.Upstream {
	case "":
		port, err := process.FreePort()
		if err != nil {
			return err
		}
		address := process.Addr(port)
		s.children[Upstream] = s.child(address, Upstream, "upstream", address)
		s.upstreamURL = "ws://" + address
	case NoUpstream:
	default:
		s.upstreamURL = s.opts.Upstream
	}
	return nil
}

func (s *Suite) gatewayPort() (int, error) {
	if s.opts.Ports.Gateway == 0 {
		return process.FreePort()
	}
	return s.opts.Ports.Gateway, process.CheckPort(s.opts.Ports.Gateway)
}

// functionProcess is the process that serves an entry point, yet to be started.
func (s *Suite) functionProcess(entryPoint string, port int) *child {
	c := s.child(process.Addr(port), entryPoint, "function", entryPoint)
	c.spec.Env = []string{"PORT=" + strconv.Itoa(port)}
	return c
}

func (s *Suite) child(address, name string, arguments ...string) *child {
	return &child{
		spec: process.Spec{Name: name, Path: s.opts.Binary, Args: arguments, LogFile: s.LogFile(name)}, addr: address, failed: s.failed,
	}
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
		config.RelayDeliveryURL:   s.deliveryURL,
		config.UpstreamRelayURL:   s.upstreamURL,
		config.DeliveryCaller:     s.issuer.FunctionAccount(),
	}
	s.addChosen(env)
	return env
}

func (s *Suite) startUpstream(ctx context.Context) error {
	c, ok := s.children[Upstream]
	if !ok {
		return nil // there is none, or the caller has one
	}
	s.progress("starting an ordinary relay")
	s.onStop(c.stop)
	return c.start(ctx)
}

func (s *Suite) startFunctions(ctx context.Context) error {
	s.progress("starting the functions and the gateway")
	entryPoints := slices.DeleteFunc([]string{Gateway, Claim, Deliver, Expire}, func(name string) bool { return s.children[name] == nil })
	errs := make([]error, len(entryPoints))
	var wg sync.WaitGroup
	for i, entryPoint := range entryPoints {
		c := s.children[entryPoint]
		s.onStop(c.stop)
		wg.Go(func() { errs[i] = c.start(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
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

func (s *Suite) startTick(context.Context) error {
	s.scheduler = cloud.NewScheduler(s.caller(Expire, schedulerAccount), s.log)
	if s.opts.TickEvery < 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.scheduler.Run(ctx, s.opts.TickEvery) })
	s.onStop(func() error { cancel(); running.Wait(); return nil })
	return nil
}

func (s *Suite) caller(entryPoint, account string) cloud.Caller {
	return cloud.Caller{Minter: s.issuer, URL: s.functionURLs[entryPoint], Account: s.issuer.Account(account)}
}

// listen opens a port of 127.0.0.1; 0 is any.
func listen(port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", process.Addr(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d: %w", port, process.ErrPortInUse)
	}
	return listener, err
}

// serve answers with handler until the suite stops.
func (s *Suite) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	s.onStop(server.Close)
	go func() { _ = server.Serve(listener) }()
}
