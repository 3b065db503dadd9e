package assembly

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
	"github.com/keypackage-delivery/keypackage-delivery/shared/serving"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/shared/topic"
)

// Issuer issues the ID tokens by which the delivery endpoint knows its caller.
type Issuer = relayapi.Issuer

// Google issues those of the cloud.
var Google = relayapi.Google

// Gateway is RelayGateway: Nostr clients on every path but the delivery endpoint's. It is safe for concurrent use.
type Gateway struct {
	service  *serving.Service
	endpoint *relayapi.Endpoint
}

var _ http.Handler = (*Gateway)(nil)

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
		Publisher: Publisher(cfg, documents), Claimer: claimer(cfg, documents, nil, mode),
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
