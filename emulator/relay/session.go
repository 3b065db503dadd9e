package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	// queueLength is how many frames may wait for a session that reads slowly; more are dropped.
	queueLength = 1024
	// memory is how long after its expiry a parcel's id is remembered. No push begins after the expiry, so this only has to
	// outlast one that is under way and the difference of two clocks.
	memory = 5 * time.Minute
)

// session is one websocket connection: who it is, what it subscribes to, and what is being written to it. All its methods
// may be called concurrently, and none of them waits for the client.
type session struct {
	ctx   context.Context // ends with the connection
	login login
	send  func([]byte) error
	now   func() time.Time
	queue chan *write

	mu            sync.Mutex
	pubkey        string // "" until authenticated
	subscriptions map[string]subscription
	parcels       recent[*write] // what was sent, or is being sent, by parcel id
}

// login is a connection's authentication (NIP-42), which may never come.
type login struct {
	done   <-chan struct{} // closed when the client has authenticated
	pubkey func() string   // as whom; called once after that
}

// subscription is one REQ. Its context is that of the REQ, which tells it from a later one with the same id.
type subscription struct {
	ctx     context.Context
	filters nostr.Filters
}

// newSession returns a session whose writer runs until ctx ends. Frames are written with send, one at a time.
func newSession(ctx context.Context, login login, send func([]byte) error, now func() time.Time) *session {
	s := &session{
		ctx: ctx, login: login, send: send, now: now,
		queue:         make(chan *write, queueLength),
		subscriptions: map[string]subscription{},
	}
	go s.write()
	return s
}

func (s *session) write() {
	for {
		select {
		case <-s.ctx.Done():
			s.dropQueue()
			return
		case w := <-s.queue:
			w.perform(s.send)
		}
	}
}

func (s *session) dropQueue() {
	for {
		select {
		case w := <-s.queue:
			w.drop(relayapi.NoSession)
		default:
			return
		}
	}
}

// identity is the public key that the client has proven to hold, or "". The first proof counts: khatru does not tell of
// later ones.
func (s *session) identity() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pubkey == "" {
		select {
		case <-s.login.done:
			s.pubkey = s.login.pubkey()
		default:
		}
	}
	return s.pubkey
}

// subscribe adds a filter of the REQ that ctx belongs to. A REQ with an id that is in use replaces the older one (NIP-01).
func (s *session) subscribe(ctx context.Context, id string, filter nostr.Filter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.subscriptions[id]
	if current.ctx != ctx {
		current = subscription{ctx: ctx}
	}
	current.filters = append(current.filters, filter)
	s.subscriptions[id] = current
}

// unsubscribe ends the REQ that ctx belongs to, but not a later one with the same id.
func (s *session) unsubscribe(ctx context.Context, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscriptions[id].ctx == ctx {
		delete(s.subscriptions, id)
	}
}

// subscribed returns the ids of the subscriptions with a filter that is wanted, in lexical order. The session is locked
// while wanted is called.
func (s *session) subscribed(wanted func(nostr.Filter) bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subscribedLocked(wanted)
}

// subscribedLocked is subscribed for callers that hold the lock.
func (s *session) subscribedLocked(wanted func(nostr.Filter) bool) []string {
	var ids []string
	for id, subscription := range s.subscriptions {
		if slices.ContainsFunc(subscription.filters, wanted) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// push sends p on one matching subscription, unless the session was sent this parcel before; then it returns that earlier
// write. The subscription is chosen, and the clock looked at, when the write's turn has come. After the parcel has been
// written, sent is called.
func (s *session) push(p parcel, m matching, sent func()) *write {
	s.mu.Lock()
	defer s.mu.Unlock()
	if earlier, ok := s.parcels.get(p.id); ok && !earlier.inVain() {
		return earlier
	}
	w := newWrite(func() ([]byte, relayapi.Status) { return s.frame(p, m) })
	w.sent = sent
	if len(s.subscribedLocked(m.wants(p))) == 0 {
		w.drop(relayapi.NoSubscription) // now, because a session that is stuck has no turns
		return w
	}
	s.parcels.put(p.id, w, p.expires.Add(memory), s.now())
	s.enqueue(w)
	return w
}

// frame returns what to send for p now, or why nothing can be sent.
func (s *session) frame(p parcel, m matching) ([]byte, relayapi.Status) {
	if !s.now().Before(p.expires) || s.ctx.Err() != nil {
		return nil, relayapi.NoSession
	}
	ids := s.subscribed(m.wants(p))
	if len(ids) == 0 {
		return nil, relayapi.NoSubscription
	}
	return eventFrame(ids[0], p.raw), relayapi.Delivered
}

// broadcast sends a published event on every subscription that it matches.
func (s *session) broadcast(event *nostr.Event, raw string) {
	for _, id := range s.subscribed(func(f nostr.Filter) bool { return f.Matches(event) }) {
		s.enqueue(newWrite(func() ([]byte, relayapi.Status) { return eventFrame(id, raw), relayapi.Delivered }))
	}
}

func (s *session) enqueue(w *write) {
	if s.ctx.Err() != nil {
		w.drop(relayapi.NoSession)
		return
	}
	select {
	case s.queue <- w:
	default:
		w.drop(relayapi.NoSession)
	}
}
