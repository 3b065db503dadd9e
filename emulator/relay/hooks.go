package relay

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/fasthttp/websocket"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip11"
)

// nostr returns the websocket and NIP-11 side of the relay.
//
// It is two khatru relays behind a router: one takes what is published, the other what is subscribed to. khatru tells
// subscribers of an event by walking through their list without a lock; here the list of the relay that publishes is always
// empty, and subscribers are told by our own sessions.
func (r *Relay) nostr() http.Handler {
	router := khatru.NewRouter() // is itself the relay for what is published
	router.Log = slog.NewLogLogger(r.log.Handler(), slog.LevelDebug)
	router.Info = r.information()
	router.OnConnect = append(router.OnConnect, r.connect)
	router.OnDisconnect = append(router.OnDisconnect, r.disconnect)
	router.RejectEvent = append(router.RejectEvent, r.reject)
	router.StoreEvent = append(router.StoreEvent, r.store)
	router.ReplaceEvent = append(router.ReplaceEvent, r.store)
	router.OnEphemeralEvent = append(router.OnEphemeralEvent, func(_ context.Context, event *nostr.Event) { r.sessions.broadcast(event) })

	subscribed := khatru.NewRelay()
	subscribed.OverwriteFilter = append(subscribed.OverwriteFilter, r.subscribe)
	subscribed.QueryEvents = append(subscribed.QueryEvents, r.query)
	router.Route().Req(func(nostr.Filter) bool { return true }).Relay(subscribed)
	return router
}

func (r *Relay) information() *nip11.RelayInformationDocument {
	return &nip11.RelayInformationDocument{
		Name:          "KeyPackage delivery reference relay",
		Description:   "Serves KeyPackages (kinds 443, 30443) to their authors, and to others in answer to a kind-447 request. Tells outcomes in kind 20447 and owners about their stock in kind 20448, signed by this relay's key.",
		PubKey:        r.identity,
		SupportedNIPs: []any{1, 9, 11, 42},
		Software:      "https://github.com/keypackage-delivery/keypackage-delivery",
		Version:       "reference",
	}
}

// connect opens a session and asks the client to authenticate. khatru has no hook for the moment when it does, but closes a
// channel, which exists after RequestAuth; no message of the client is read before connect returns.
func (r *Relay) connect(ctx context.Context) {
	ws := khatru.GetConnection(ctx)
	khatru.RequestAuth(ctx)
	proof := login{done: ws.Authed, pubkey: func() string { return ws.AuthedPublicKey }}
	s := newSession(ws.Context, proof, func(frame []byte) error { return ws.WriteMessage(websocket.TextMessage, frame) }, r.now)
	r.sessions.add(ws, s)
	go r.awaitLogin(s)
}

func (r *Relay) awaitLogin(s *session) {
	select {
	case <-s.ctx.Done():
	case <-s.login.done:
		requester := s.identity()
		awaits := func(f nostr.Filter) bool { return awaitsKeyPackages(f, requester) }
		r.attend(requester, len(s.subscribed(awaits)) > 0)
	}
}

// disconnect is called twice for each connection.
func (r *Relay) disconnect(ctx context.Context) {
	r.sessions.remove(khatru.GetConnection(ctx))
}

// subscribe is called for each filter of a REQ. The context ends with the subscription.
func (r *Relay) subscribe(ctx context.Context, filter *nostr.Filter) {
	s, id := r.sessions.of(khatru.GetConnection(ctx)), khatru.GetSubscriptionID(ctx)
	if s == nil {
		return // disconnected meanwhile
	}
	s.subscribe(ctx, id, *filter)
	context.AfterFunc(ctx, func() { s.unsubscribe(ctx, id) })
	if requester := s.identity(); requester != "" {
		r.attend(requester, awaitsKeyPackages(*filter, requester))
	}
}

// attend serves a requester that may now be able to receive what it was not: notices that wait here, and, after a nudge,
// KeyPackages that wait in Firestore.
func (r *Relay) attend(requester string, awaitsKeyPackages bool) {
	if err := r.notices.tell(requester); err != nil {
		r.log.Warn("notice not told", "recipient", requester, "error", err)
	}
	if awaitsKeyPackages {
		r.nudger.nudge(requester)
	}
}

// readerOf returns the public key that the connection behind ctx is authenticated as, or "".
func (r *Relay) readerOf(ctx context.Context) string {
	if s := r.sessions.of(khatru.GetConnection(ctx)); s != nil {
		return s.identity()
	}
	return ""
}
