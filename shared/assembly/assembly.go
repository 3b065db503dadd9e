// Package assembly builds the use cases out of the settings. It is the one place where the adapters meet the ports.
package assembly

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
	"github.com/keypackage-delivery/keypackage-delivery/shared/serving"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Store connects to Firestore. The context bounds the set-up only.
func Store(ctx context.Context, cfg config.Config) (*store.Store, error) {
	client, err := store.Connect(ctx, cfg.Project, cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("connect to Firestore: %w", err)
	}
	return store.New(client, cfg.Collections, cfg.Policy), nil
}

// connect connects to what a claim needs: Firestore and the delivery topic.
func connect(ctx context.Context, cfg config.Config) (*store.Store, *topic.Publisher, error) {
	documents, err := Store(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	messages, err := topic.NewPublisher(ctx, cfg.Project, cfg.DeliveryTopic)
	return documents, messages, err
}

// Claimer builds the use case of ClaimKeyPackages.
func Claimer(ctx context.Context, cfg config.Config) (*claiming.Claimer, error) {
	documents, messages, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return NewClaimer(cfg, documents, messages, rollout.New(cfg.Mode, documents, time.Now), time.Now), nil
}

// NewClaimer builds it of any store and topic. messages may be nil for a gateway, which publishes nothing.
func NewClaimer(
	cfg config.Config, documents claiming.Store, messages claiming.Publisher, mode rollout.Mode, now func() time.Time,
) *claiming.Claimer {
	return claiming.New(documents, messages, claiming.Settings{
		Limits: claiming.Limits{
			DeliveryTTL: cfg.DeliveryTTL, PairLimitPerHour: cfg.PairLimitPerHour, OwnerBudgetPerHour: cfg.OwnerBudgetPerHour,
		},
		Mode: mode, MaxPerOwner: cfg.MaxPerOwner, RequestMaxAge: cfg.RequestMaxAge,
	}, now)
}

// Publisher builds the use case of a relay that takes in KeyPackages, deletions and requests, which it keeps in documents.
func Publisher(cfg config.Config, documents publishing.Store) *publishing.Publisher {
	return publishing.New(documents, publishing.Settings{Policy: cfg.Policy, MaxStock: cfg.Gateway.MaxStock}, time.Now)
}

// Deliverer builds the use case of DeliverKeyPackages.
func Deliverer(ctx context.Context, cfg config.Config) (*delivering.Deliverer, error) {
	documents, err := Store(ctx, cfg)
	if err != nil {
		return nil, err
	}
	client, err := relayapi.New(cfg.RelayDeliveryURL, cfg.RelayAudience)
	if err != nil {
		return nil, err
	}
	return delivering.New(documents, client, rollout.New(cfg.Mode, documents, time.Now), time.Now), nil
}

// Expirer builds the use case of ExpireDeliveries. answered is told of every request that it answers.
func Expirer(ctx context.Context, cfg config.Config, answered func(context.Context, claiming.Result, error)) (*expiring.Expirer, error) {
	documents, messages, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	notices, err := topic.NewPublisher(ctx, cfg.Project, cfg.NoticeTopic)
	if err != nil {
		return nil, err
	}
	mode := rollout.New(cfg.Mode, documents, time.Now)
	requests := requests{NewClaimer(cfg, documents, messages, mode, time.Now), answered}
	settings := expiring.Settings{Mode: mode, RequestMaxAge: cfg.RequestMaxAge}
	return expiring.New(documents, requests, messages, notices, settings, time.Now), nil
}

// requests is the claimer as the scheduled function sees it: everything that it takes up is told.
type requests struct {
	*claiming.Claimer
	answered func(context.Context, claiming.Result, error)
}

// Recover implements expiring.Claimer.
func (r requests) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	result, err := r.Claimer.Recover(ctx, doc)
	r.answered(ctx, result, err)
	return err
}

// Issuer issues the ID tokens by which the delivery endpoint knows its caller.
type Issuer = relayapi.Issuer

// Google issues those of the cloud.
var Google = relayapi.Google

// Gateway is RelayGateway: Nostr clients on every path but the delivery endpoint's. It is safe for concurrent use.
type Gateway struct {
	service  *serving.Service
	endpoint *relayapi.Endpoint
}

// NewGateway builds and starts a gateway. The context bounds the set-up only. Close must be called in the end.
func NewGateway(ctx context.Context, cfg config.Config, issuer Issuer, log *slog.Logger) (*Gateway, error) {
	guard, err := relayapi.NewGuard(relayapi.Caller{Issuer: issuer, Audience: cfg.RelayAudience, Email: cfg.Gateway.DeliveryCaller})
	if err != nil {
		return nil, err
	}
	documents, err := Store(ctx, cfg)
	if err != nil {
		return nil, err
	}
	settings, err := servingConfig(ctx, cfg, documents, log)
	if err != nil {
		return nil, err
	}
	service, err := serving.New(settings)
	if err == nil {
		err = service.Start(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &Gateway{service, relayapi.NewEndpoint(guard, service.Sessions(), log)}, nil
}

func servingConfig(ctx context.Context, cfg config.Config, documents *store.Store, log *slog.Logger) (serving.Config, error) {
	key := string(cfg.Gateway.SecretKey)
	if key == "" { // then all gateways of the database share one
		var err error
		if key, err = documents.SecretKey(ctx, nostr.GeneratePrivateKey()); err != nil {
			return serving.Config{}, err
		}
	}
	mode := rollout.New(cfg.Mode, documents, time.Now)
	settings := serving.Config{
		Gateway: gateway.Config{
			SharesLogin: cfg.Gateway.SharesLogin, Hosts: cfg.Gateway.Hosts, ProxyHops: cfg.Gateway.ProxyHops,
			ReqClaims: cfg.Gateway.REQClaims,
		},
		SecretKey: key, Store: documents, Mode: mode, Log: log,
		Publisher: Publisher(cfg, documents), Claimer: NewClaimer(cfg, documents, nil, mode, time.Now),
		Deliverer: func(sessions delivering.Relay) *delivering.Deliverer {
			return delivering.NewLocal(documents, sessions, mode, time.Now)
		},
		OutcomeContent: relayapi.OutcomeContent,
	}
	if cfg.Gateway.Upstream != nil {
		settings.Gateway.Upstream = upstream.New(cfg.Gateway.Upstream)
	}
	if cfg.Gateway.ServedBy != config.ServedByFunctions {
		return settings, nil
	}
	messages, err := topic.NewPublisher(ctx, cfg.Project, cfg.DeliveryTopic)
	settings.Nudge = func(ctx context.Context, requester string) error {
		return messages.PublishRequesters(ctx, []string{requester})
	}
	return settings, err
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == relayapi.Path {
		g.endpoint.ServeHTTP(w, r)
		return
	}
	g.service.ServeHTTP(w, r)
}

// Close ends all sessions and returns when what was begun is recorded, or ctx ends.
func (g *Gateway) Close(ctx context.Context) { g.service.Close(ctx) }
