package serving_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
	"github.com/keypackage-delivery/keypackage-delivery/shared/serving"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// failing is a store that commits no claim while it is away. While it is slow, what is left of a claim's lease when the commit is
// known is that much. While it is held, claims wait.
type failing struct {
	*store.Store
	service *serving.Service
	away    atomic.Bool
	slow    atomic.Pointer[time.Duration]
	held    atomic.Pointer[chan struct{}]
}

func (f *failing) Commit(ctx context.Context, plan *claiming.Plan) error {
	if f.away.Load() {
		return errors.New("away")
	}
	if held := f.held.Load(); held != nil {
		<-*held
	}
	if left := f.slow.Load(); left != nil {
		for _, d := range plan.Created {
			d.LeaseUntil = time.Now().Add(*left)
		}
	}
	return f.Store.Commit(ctx, plan)
}

// A push whose lease is too short or over, because the claim took long to commit, is begun again: a REQ has nobody else who
// would. It is sent once, and counts as not seen until then, because it is known not to have been sent.
func TestSlowCommit(t *testing.T) {
	for name, left := range map[string]time.Duration{
		"the lease is too short": keypackage.LocalPushTimeout, "the lease is over": 0,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			bob := actors.NewKey()
			stock := w.stocked(bob, 3)
			gateway, documents := w.startFailing()
			documents.slow.Store(&left)
			alice, carol := gateway.login(actors.NewKey()), gateway.login(actors.NewKey())
			if ids := alice.ask("a", bob); len(ids) != 1 || ids[0] != stock[0] {
				t.Errorf("given %v", ids)
			}
			alice.nothing()
			request := carol.question(actors.Question{Owners: []string{bob.Pubkey}}) // and does not listen
			carol.send(publish(request))
			carol.accepted(request.ID)
			w.eventually("both are recorded", func() bool {
				ended := map[any]any{}
				for _, d := range w.deliveries() {
					if d["exposure_unknown"] == false && d["push_no"] == int64(2) {
						ended[d["state"]] = d["last_result"]
					}
				}
				return maps.Equal(ended, map[any]any{"delivered": "delivered", "pending": "no_subscription"})
			})
		})
	}
}

// startFailing starts a gateway whose claims fail while the store is away.
func (w *world) startFailing() (*instance, *failing) {
	w.t.Helper()
	documents := &failing{Store: w.Store()}
	mode := keypackage.ModeDeliver
	limits := claiming.Limits{DeliveryTTL: w.DeliveryTTL, PairLimitPerHour: w.PairLimitPerHour, OwnerBudgetPerHour: w.OwnerBudgetPerHour}
	service, err := serving.New(serving.Config{
		Gateway: gateway.Config{Hosts: []string{"127.0.0.1"}, ReqClaims: true}, SecretKey: nostr.GeneratePrivateKey(),
		Store: documents, Mode: mode, OutcomeContent: relayapi.OutcomeContent, Log: slog.New(slog.DiscardHandler),
		Publisher: publishing.New(documents, publishing.Settings{Policy: w.Policy, MaxStock: w.Gateway.MaxStock}, time.Now),
		Claimer: claiming.New(documents, nil, claiming.Settings{
			Limits: limits, Mode: mode, MaxPerOwner: w.MaxPerOwner, RequestMaxAge: w.RequestMaxAge,
		}, time.Now),
		Deliverer: func(sessions delivering.Relay) *delivering.Deliverer {
			return delivering.NewLocal(documents, sessions, mode, time.Now)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	documents.service = service
	if err := service.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(service)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		service.Close(ctx)
		server.Close()
	})
	return &instance{w: w, http: server.URL, ws: "ws" + strings.TrimPrefix(server.URL, "http")}, documents
}

// A request whose claim fails is gone on with where its session is. A REQ whose claim fails ends in EOSE, and can be asked again.
func TestClaimsThatFail(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	stock := w.stocked(bob, 3)
	gateway, documents := w.startFailing()
	documents.away.Store(true)
	alice, carol := gateway.login(actors.NewKey()), gateway.login(actors.NewKey())
	carol.send(asks("a", bob))
	if ids := carol.untilEOSE("a"); len(ids) != 0 {
		t.Errorf("given %v", ids)
	}
	request := alice.question(actors.Question{Owners: []string{bob.Pubkey}})
	alice.send(listens("a"), publish(request))
	alice.await("EOSE")
	alice.accepted(request.ID)
	if !w.isMarked(request.ID) {
		t.Error("if the instance dies now, nobody looks for the request")
	}
	documents.away.Store(false)
	if got := alice.keyPackage("a"); got != stock[0] {
		t.Errorf("got %s", got)
	}
	alice.outcome(request.ID)
	w.eventually("the mark is removed", func() bool { return !w.isMarked(request.ID) })
	carol.send(`["CLOSE","a"]`)
	if ids := carol.ask("b", bob); len(ids) != 1 || ids[0] != stock[1] {
		t.Errorf("given %v", ids)
	}
}

// What serves a request returns when that is recorded, however long it takes: the CPU stops with the last request.
func TestSlowClaimIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	w.stocked(bob, 3)
	gate, documents := w.startFailing()
	held := make(chan struct{})
	documents.held.Store(&held)
	request := gate.login(actors.NewKey()).question(actors.Question{Owners: []string{bob.Pubkey}})
	_, serve, err := documents.service.Take(t.Context(), gateway.Event{Event: request, Raw: request.String()})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(over)
	}()
	select {
	case <-served:
		t.Error("it has returned before anything was recorded")
	case <-time.After(300 * time.Millisecond):
	}
	close(held)
	<-served
	if n := len(w.deliveries()); n != 1 {
		t.Errorf("%d deliveries are recorded", n)
	}
}
