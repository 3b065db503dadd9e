package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// DirectEvent is an event for one person: a KeyPackage or a notice.
type DirectEvent struct {
	ID        string   // a session is sent each id once
	Recipient string   // only sessions that have authenticated as this key are sent it
	Requests  []string // the 447s that were granted it, if any
	Event     Event
	Expires   time.Time // nothing is written from then on
}

// directMemory is how long after its expiry a direct event's id is remembered. No push begins after the expiry, so this only has to
// outlast one that is under way and the difference of two clocks.
const directMemory = 5 * time.Minute

// Deliver begins to send a direct event to every session of its recipient, each on one open subscription that the event satisfies, the
// filter's limit left aside: that bounds what is read from a store, and a direct event does not come from there. The returned function
// waits until that is done, or ctx ends, and says what came of it; what has not begun by then is dropped. A negative answer
// speaks for this instance, at this moment. A direct event that was delivered before, to whichever session, is delivered.
func (g *Gateway) Deliver(p DirectEvent) (result func(context.Context) outbox.Status) {
	var begun []*outbox.Delivery
	for _, s := range g.sessions.of(p.Recipient) {
		begun = append(begun, s.deliver(p))
	}
	return func(ctx context.Context) outbox.Status {
		best := 0
		for _, d := range begun {
			best = max(best, slices.Index(ranking, d.Wait(ctx)))
		}
		if _, ok := g.sessions.delivered.get(p.ID); ok {
			return outbox.Delivered
		}
		return ranking[best]
	}
}

// ranking is by what is known of a direct event: one session that has it is enough, and one that may have it outweighs those that
// do not.
var ranking = []outbox.Status{outbox.NoSession, outbox.NoSubscription, outbox.Unknown, outbox.Delivered}

// Awaits reports whether a session of the recipient has a subscription for the event: whoever would have to sign it first may ask.
func (g *Gateway) Awaits(recipient string, e Event) bool {
	return slices.ContainsFunc(g.sessions.of(recipient), func(s *session) bool { return len(s.subscribed(e)) > 0 })
}

// deliver begins to send p, unless the session was sent this direct event before; then it returns that earlier delivery. The
// subscription is chosen, and the clock looked at, when the frame's turn has come.
func (s *session) deliver(p DirectEvent) *outbox.Delivery {
	remembered := p.Expires.Add(directMemory)
	d := outbox.NewDelivery(func() ([]byte, outbox.Status) {
		if !time.Now().Before(p.Expires) || s.ctx.Err() != nil {
			return nil, outbox.NoSession
		}
		ids := s.subscribed(p.Event, p.Requests...)
		if len(ids) == 0 {
			return nil, outbox.NoSubscription
		}
		return wire.Event(ids[0], p.Event.Raw), outbox.Delivered
	}, func() { s.sessions.delivered.put(p.ID, struct{}{}, remembered) })
	if len(s.subscribed(p.Event, p.Requests...)) == 0 {
		d.Drop(outbox.NoSubscription) // now, because a session that is stuck has no turns
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if earlier, ok := s.deliveries.get(p.ID); ok && !earlier.InVain() {
		return earlier
	}
	if !d.InVain() {
		s.deliveries.put(p.ID, d, remembered)
	}
	s.out.Offer(d) // does not wait
	return d
}

// broadcast tells of a published KeyPackage: of a 443 only its author, of a 30443, where there is no upstream to do it, everybody.
func (g *Gateway) broadcast(e Event) {
	var audience []*session
	switch {
	case e.Kind == keypackage.KindKeyPackage:
		audience = g.sessions.of(e.PubKey)
	case g.Upstream == nil:
		audience = g.sessions.of(everybody)
	}
	for _, s := range audience {
		for _, id := range s.subscribed(e) {
			s.out.Offer(outbox.NewDelivery(func() ([]byte, outbox.Status) {
				if !slices.Contains(s.subscribed(e), id) {
					return nil, outbox.NoSubscription
				}
				return wire.Event(id, e.Raw), outbox.Delivered
			}, func() {}))
		}
	}
}

// sessions are the open sessions, by the keys that have authenticated, and the memory of what was delivered to those that are
// gone. They are safe for concurrent use.
type sessions struct {
	mu        sync.Mutex
	byKey     map[string]map[*session]bool // all of them under everybody
	delivered recent[struct{}]             // ids of direct events
}

// everybody is no key.
const everybody = ""

// add enters a session under a key, unless the session has been removed.
func (ss *sessions) add(key string, s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if key != everybody && !ss.byKey[everybody][s] {
		return
	}
	if ss.byKey[key] == nil {
		ss.byKey[key] = map[*session]bool{}
	}
	ss.byKey[key][s] = true
}

func (ss *sessions) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, key := range append(s.identities(), everybody) { // read now: a login may be under way, which is entered before or not at all
		delete(ss.byKey[key], s)
		if len(ss.byKey[key]) == 0 {
			delete(ss.byKey, key)
		}
	}
}

func (ss *sessions) of(key string) []*session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return slices.Collect(maps.Keys(ss.byKey[key]))
}

// recent maps ids to values that are of interest for a limited time only. It is safe for concurrent use. The zero value is empty.
type recent[V any] struct {
	mu      sync.Mutex
	entries map[string]entry[V]
	swept   time.Time
}

type entry[V any] struct {
	value V
	until time.Time
}

// sweepInterval is how often expired entries are looked for; in between they only cost memory.
const sweepInterval = time.Minute

func (r *recent[V]) put(id string, value V, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[string]entry[V]{}
	}
	if now := time.Now(); now.Sub(r.swept) >= sweepInterval {
		r.swept = now
		maps.DeleteFunc(r.entries, func(_ string, e entry[V]) bool { return now.After(e.until) })
	}
	r.entries[id] = entry[V]{value, until}
}

func (r *recent[V]) get(id string) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[id]
	return e.value, ok && time.Now().Before(e.until)
}
