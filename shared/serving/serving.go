// Package serving is the use case of RelayGateway: what stands behind the ports of package gateway. It stores what clients
// publish, claims what they ask for, and pushes it into their sessions, all in the process that holds them.
//
// In reading order: serving.go is what it is made of and what happens now and then, request.go serves 447s and REQs, sessions.go
// brings packages and outcomes into sessions, level.go tells owners the state of their stock.
package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

const (
	modeEvery   = 5 * time.Second // an operator's switch is to be seen within ten
	modeTimeout = 3 * time.Second
	lineEvery   = time.Minute // metrics count by it
)

// Store reads what requests were granted, and what is known of owners' stock. It may be called concurrently.
type Store interface {
	// These are as in delivering.Store and claiming.Store.
	Answer(ctx context.Context, requestID string) (keypackage.Answer, error)
	Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) ([]keypackage.StoredDelivery, error)
	CountSuite(ctx context.Context, owner, suite string, limit int) (int, error)

	// Supplies returns what is recorded about an owner's stock, by keypackage.SuiteKey.
	Supplies(ctx context.Context, owner string) (map[string]keypackage.Supply, error)
}

// Config is what a Service needs. All is required but Nudge.
type Config struct {
	Gateway   gateway.Config // without Pubkey, Ports and Log
	SecretKey string         // signs outcomes and notices; hex

	Store          Store
	Publisher      *publishing.Publisher
	Claimer        *claiming.Claimer
	Deliverer      func(sessions delivering.Relay) *delivering.Deliverer // returns one that pushes into these sessions
	OutcomeContent func(rows []keypackage.Row) (string, error)           // of the event that tells an outcome
	Mode           rollout.Mode
	Log            *slog.Logger

	// Nudge tells the functions that something could be delivered to a requester. If it is set, they serve the requests, and
	// nothing is claimed here.
	Nudge func(ctx context.Context, requester string) error
}

// Service is a gateway with everything behind it. It is an http.Handler for Nostr clients, and safe for concurrent use.
type Service struct {
	Config
	gateway  *gateway.Gateway
	push     *delivering.Deliverer // into the sessions, to each once
	again    *delivering.Deliverer // also into sessions that have it
	signer   signer
	outcomes *outcomes
	levels   levels
	serving  atomic.Bool
	now      func() time.Time

	background sync.WaitGroup
	follows    chan struct{} // one for each request that is followed
	done       context.Context
	stop       context.CancelFunc
}

var _ http.Handler = (*Service)(nil)

// New returns a Service. It does no I/O. Start must be called, and Close in the end.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Publisher == nil || c.Claimer == nil || c.Deliverer == nil ||
		c.OutcomeContent == nil || c.Mode == nil || c.Log == nil {
		return nil, errors.New("serving: something is missing behind the gateway")
	}
	pubkey, err := nostr.GetPublicKey(c.SecretKey)
	if err != nil {
		return nil, errors.New("serving: the gateway's key is not a secret key in hex") // not what it is
	}
	s := &Service{Config: c, signer: signer{c.SecretKey, pubkey}, now: time.Now, follows: make(chan struct{}, maxFollowed)}
	s.done, s.stop = context.WithCancel(context.Background())
	settings := c.Gateway
	settings.Pubkey, settings.Log, settings.ReqClaims = pubkey, c.Log, settings.ReqClaims && s.here()
	settings.Ports = gateway.Ports{Publisher: s, Stock: c.Publisher, Requests: s, Levels: s, Switch: s}
	if s.gateway, err = gateway.New(settings); err != nil {
		return nil, err
	}
	s.outcomes = &outcomes{service: s, waiting: make(map[string][]*outcome)}
	s.levels.told = make(map[string]reading)
	s.push = c.Deliverer(s.Sessions())
	s.again = c.Deliverer(&sessions{s.outcomes, true})
	return s, nil
}

// here reports whether requests are served in this process.
func (s *Service) here() bool { return s.Nudge == nil }

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.gateway.ServeHTTP(w, r) }

// Sessions is how the delivery endpoint pushes into the sessions of this process.
func (s *Service) Sessions() delivering.Relay { return &sessions{s.outcomes, false} }

// Publish implements gateway.Publisher.
func (s *Service) Publish(ctx context.Context, e gateway.Event, shared bool) (gateway.Answer, error) {
	answer, err := s.Publisher.KeyPackage(ctx, e, shared)
	if err == nil && answer.Accepted {
		s.published(e)
	}
	return answer, err
}

// Delete implements gateway.Publisher.
func (s *Service) Delete(ctx context.Context, e gateway.Event) (gateway.Answer, error) {
	return s.Publisher.Delete(ctx, e)
}

// Serving implements gateway.Switch.
func (s *Service) Serving() bool { return s.serving.Load() }

// Start reads the mode and begins what happens in the background. An error says that the mode could not be read.
func (s *Service) Start(ctx context.Context) error {
	if err := s.readMode(ctx); err != nil {
		return fmt.Errorf("read the mode: %w", err)
	}
	s.begin(s.tend)
	return nil
}

// Close ends all sessions and everything else, and returns when what was begun is recorded, or ctx ends.
func (s *Service) Close(ctx context.Context) {
	s.gateway.Close(ctx)
	s.stop()
	all := make(chan struct{})
	go func() {
		defer close(all)
		s.background.Wait()
	}()
	select {
	case <-all:
	case <-ctx.Done():
	}
}

// begin does work beside the sessions, which Close waits for. A panic ends that work, not the instance. What it says is not
// logged: it might repeat what a client has sent.
func (s *Service) begin(work func()) {
	s.background.Go(func() {
		defer func() {
			if fault := recover(); fault != nil {
				s.Log.Error("panic", "type", fmt.Sprintf("%T", fault), "stack", string(debug.Stack()))
			}
		}()
		work()
	})
}

// tend does what is to be done now and then, until Close.
func (s *Service) tend() {
	modes, lines, levels := time.Tick(modeEvery), time.Tick(lineEvery), time.Tick(levelEvery)
	for {
		select {
		case <-modes:
			if err := s.readMode(s.done); err != nil {
				s.Log.Warn("the mode is not known, and stays", "error", err)
			}
		case <-lines:
			s.outcomes.forget(func(known *outcome) bool { return !s.now().Before(known.direct.Expires) })
			if s.gateway.Sessions() > 0 {
				s.report()
			}
		case <-levels:
			for _, owner := range s.listeners() {
				s.tellLevel(owner, false)
			}
		case <-s.done.Done():
			s.report()
			return
		}
	}
}

// readMode takes over the mode of the moment.
func (s *Service) readMode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, modeTimeout)
	defer cancel()
	mode, err := s.Mode.Now(ctx)
	if err == nil {
		s.serving.Store(mode == keypackage.ModeDeliver)
	}
	return err
}

// report writes what the gateway has done since it was last asked.
func (s *Service) report() {
	line := logging.Begin(s.Log)
	line.Set(logging.About, logging.AboutGateway)
	for name, n := range s.gateway.Tally() {
		line.Count(name, n)
	}
	line.End(context.Background(), "serving", nil)
}

// signer signs what the gateway tells.
type signer struct{ secretKey, pubkey string }

// unsigned returns an event for its recipient, without a signature.
func (s signer) unsigned(kind int, content string, now time.Time, tags nostr.Tags) gateway.Event {
	return gateway.Event{Event: &nostr.Event{
		PubKey: s.pubkey, Kind: kind, CreatedAt: nostr.Timestamp(now.Unix()), Tags: tags, Content: content,
	}}
}

func (s signer) sign(e gateway.Event) (gateway.Event, error) {
	if err := e.Sign(s.secretKey); err != nil {
		return e, errors.New("an event could not be signed") // not with which key
	}
	e.Raw = e.String()
	return e, nil
}
