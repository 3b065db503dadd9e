package relay

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// notice is what this relay has to tell one person: an ephemeral event that it signs itself.
type notice struct {
	id        string // told to the recipient once
	recipient string // public key; the only one who is told
	kind      int
	tags      nostr.Tags
	content   string
	requestID string    // the request that it is about, if any
	subject   string    // if not "", a notice that waits is replaced by the next one with the same recipient and subject
	expires   time.Time // when the relay stops trying
}

// notices tells people what concerns them as soon as they have a subscription for it, best effort: what waits is lost with
// the process.
type notices struct {
	sessions  *sessions
	secretKey string // signs, hex
	identity  string // its public key
	now       func() time.Time

	mu    sync.Mutex
	heard recent[struct{}]  // notice ids
	open  recent[[]*notice] // by recipient
}

// newNotices returns notices with a signing key of their own.
func newNotices(ss *sessions, now func() time.Time) (*notices, error) {
	secretKey := nostr.GeneratePrivateKey()
	identity, err := nostr.GetPublicKey(secretKey)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return &notices{sessions: ss, secretKey: secretKey, identity: identity, now: now}, nil
}

// take takes up a notice, unless one with the same id was taken up within the time of memory, and tells it if it can.
func (ns *notices) take(n *notice, memory time.Duration) error {
	if !ns.note(n, memory) {
		return nil
	}
	return ns.tell(n.recipient)
}

// note reports whether the notice is new.
func (ns *notices) note(n *notice, memory time.Duration) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if _, known := ns.heard.get(n.id); known {
		return false
	}
	now := ns.now()
	waiting, _ := ns.open.get(n.recipient)
	waiting = slices.DeleteFunc(slices.Clone(waiting), func(other *notice) bool {
		return n.subject != "" && other.subject == n.subject
	})
	ns.heard.put(n.id, struct{}{}, now.Add(memory), now)
	ns.keep(n.recipient, append(waiting, n), now)
	return true
}

// keep replaces what waits for a recipient. The caller holds the lock.
func (ns *notices) keep(recipient string, waiting []*notice, now time.Time) {
	until := now
	for _, n := range waiting {
		if n.expires.After(until) {
			until = n.expires
		}
	}
	ns.open.put(recipient, waiting, until, now)
}

// tell tries to tell the recipient everything that it has not been told, and does not wait for its sessions. What nobody
// subscribes to is not signed: it would be again at each attempt, for all that waits.
func (ns *notices) tell(recipient string) error {
	for _, n := range ns.untold(recipient) {
		p := ns.parcel(n)
		if !ns.sessions.want(recipient, p) {
			continue
		}
		if err := p.event.Sign(ns.secretKey); err != nil {
			return fmt.Errorf("sign a notice: %w", err)
		}
		p.raw = p.event.String()
		ns.sessions.push(recipient, p)
	}
	return nil
}

func (ns *notices) untold(recipient string) []*notice {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	waiting, ok := ns.open.get(recipient)
	if !ok {
		return nil
	}
	now := ns.now()
	waiting = slices.DeleteFunc(slices.Clone(waiting), func(n *notice) bool {
		return !now.Before(n.expires) || ns.sessions.wasDelivered(n.id)
	})
	ns.keep(recipient, waiting, now)
	return waiting
}

// parcel makes the notice's event anew for each attempt, because clients subscribe to what was created since a moment ago.
// It is not signed.
func (ns *notices) parcel(n *notice) parcel {
	event := &nostr.Event{
		Kind: n.kind, CreatedAt: nostr.Timestamp(ns.now().Unix()), Tags: slices.Clone(n.tags), Content: n.content, PubKey: ns.identity,
	}
	return parcel{id: n.id, event: event, requestID: n.requestID, expires: n.expires}
}
