package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
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
	s.children[entryPoint] = &child{
		spec: process.Spec{
			Name: entryPoint, Path: s.opts.Binary, Args: []string{"function", entryPoint},
			LogFile: s.logFile(entryPoint), Env: []string{"PORT=" + strconv.Itoa(backend)},
		},
		addr:   process.Addr(backend),
		failed: s.failed,
	}
	return nil
}

// checkSettings finds wrong settings before anything is started. What follows from what is started is not known yet.
func (s *Suite) checkSettings(context.Context) error {
	env := map[string]string{config.Project: s.opts.Project, config.RelayDeliveryURL: "http://127.0.0.1" + relayapi.Path}
	maps.Copy(env, s.opts.FunctionEnv)
	_, err := load(env)
	return err
}

func load(env map[string]string, required ...string) (config.Config, error) {
	settings, err := config.Load(func(name string) (string, bool) { value, ok := env[name]; return value, ok }, required...)
	if err != nil {
		err = fmt.Errorf("settings of the functions: %w", err)
	}
	return settings, err
}

// configure decides the settings of the functions and the relay's address, which is one of them.
func (s *Suite) configure(context.Context) error {
	if err := s.locateRelay(); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	env := s.environment()
	var err error
	if s.config, err = load(env, config.RelayDeliveryURL); err != nil {
		return err
	}
	for _, c := range s.children {
		for name, value := range env {
			c.spec.Env = append(c.spec.Env, name+"="+value)
		}
	}
	return nil
}

// locateRelay gives the relay its addresses, with a process behind them that is yet to be started.
func (s *Suite) locateRelay() error {
	if s.opts.RelayURL != "" {
		s.relayURL, s.socketURL = s.opts.RelayURL, websocketURL(s.opts.RelayURL)
		return nil
	}
	port, err := s.relayPort()
	if err != nil {
		return err
	}
	endpoint := process.Addr(port)
	s.children[Relay] = &child{addr: endpoint, failed: s.failed}
	s.socketURL = "ws://" + endpoint
	if s.opts.RelayFront != nil {
		front, err := listen(0)
		if err != nil {
			return err
		}
		s.serve(front, s.opts.RelayFront(cloud.NewProxy(endpoint)))
		endpoint = front.Addr().String()
	}
	s.relayURL = "http://" + endpoint + relayapi.Path
	return nil
}

func (s *Suite) relayPort() (int, error) {
	if s.opts.Ports.Relay == 0 {
		return process.FreePort()
	}
	return s.opts.Ports.Relay, process.CheckPort(s.opts.Ports.Relay)
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
		config.RelayDeliveryURL:   s.relayURL,
	}
	maps.Copy(env, s.opts.FunctionEnv)
	return env
}

func (s *Suite) startRelay(ctx context.Context) error {
	c, ok := s.children[Relay]
	if !ok {
		return nil // the caller has one
	}
	c.spec.Name, c.spec.Path, c.spec.LogFile = Relay, s.opts.Binary, s.logFile(Relay)
	c.spec.Args = []string{"relay",
		"-listen", c.addr,
		"-project", s.config.Project,
		"-database", s.config.Database,
		"-topic", s.config.DeliveryTopic,
		"-audience", s.config.RelayAudience,
		"-issuer", s.issuer.URL(),
		"-jwks", s.issuer.KeysURL(),
		"-caller-email", s.issuer.FunctionAccount(),
		"-compat=" + strconv.FormatBool(s.opts.RelayCompat),
		"-legacy=" + strconv.FormatBool(s.opts.RelayLegacy),
	}
	s.progress("starting the relay")
	s.onStop(c.stop)
	return c.start(ctx)
}

func (s *Suite) startFunctions(ctx context.Context) error {
	s.progress("starting the functions")
	entryPoints := []string{Claim, Deliver, Expire}
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
