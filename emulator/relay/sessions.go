package relay

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// sessions are the open connections, and the memory of what was delivered on those that are gone. Lookups walk through
// all of them: this relay serves one machine.
type sessions struct {
	matching matching
	now      func() time.Time

	mu        sync.Mutex
	open      map[any]*session // by connection
	delivered recent[struct{}] // parcel ids
}

func newSessions(m matching, now func() time.Time) *sessions {
	return &sessions{matching: m, now: now, open: map[any]*session{}}
}

func (ss *sessions) add(connection any, s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.open[connection] = s
}

// remove may be called again for the same connection.
func (ss *sessions) remove(connection any) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, connection)
}

// of returns the connection's session, or nil.
func (ss *sessions) of(connection any) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.open[connection]
}

func (ss *sessions) all() []*session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return slices.Collect(maps.Values(ss.open))
}

func (ss *sessions) authenticatedAs(pubkey string) []*session {
	return slices.DeleteFunc(ss.all(), func(s *session) bool { return s.identity() != pubkey })
}

// broadcast sends a published event to its subscribers, a KeyPackage only to its author.
func (ss *sessions) broadcast(event *nostr.Event) {
	audience := ss.all()
	if isKeyPackage(event.Kind) {
		audience = ss.authenticatedAs(event.PubKey)
	}
	raw := event.String()
	for _, s := range audience {
		s.broadcast(event, raw)
	}
}

// want reports whether a session of the recipient has a subscription on which p may be sent.
func (ss *sessions) want(recipient string, p parcel) bool {
	return slices.ContainsFunc(ss.authenticatedAs(recipient), func(s *session) bool {
		return len(s.subscribed(ss.matching.wants(p))) > 0
	})
}

// push begins to send p to every session of the requester. The returned function waits until that is done, or ctx ends,
// and says what came of it.
func (ss *sessions) push(requester string, p parcel) (result func(context.Context) relayapi.Status) {
	var writes []*write
	for _, s := range ss.authenticatedAs(requester) {
		writes = append(writes, s.push(p, ss.matching, func() { ss.remember(p) }))
	}
	return func(ctx context.Context) relayapi.Status {
		best := relayapi.NoSession
		if ss.wasDelivered(p.id) {
			best = relayapi.Delivered
		}
		for _, w := range writes {
			best = better(best, w.wait(ctx))
		}
		return best
	}
}

// better returns what is known of a parcel of which a and b are known: one session that has it is enough, and one that may
// have it outweighs those that do not.
func better(a, b relayapi.Status) relayapi.Status {
	for _, status := range []relayapi.Status{relayapi.Delivered, relayapi.Unknown, relayapi.NoSubscription} {
		if a == status || b == status {
			return status
		}
	}
	return relayapi.NoSession
}

func (ss *sessions) wasDelivered(id string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	_, ok := ss.delivered.get(id)
	return ok
}

func (ss *sessions) remember(p parcel) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.delivered.put(p.id, struct{}{}, p.expires.Add(memory), ss.now())
}
