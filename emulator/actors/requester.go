package actors

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Requester is somebody who wants to add owners to a group: Alice. She may come and go; what she received stays hers.
type Requester struct {
	Key
	url   string
	inbox *inbox

	mu      sync.Mutex
	session *session // nil while offline
}

// NewRequester returns a requester who is offline. Call Connect.
func NewRequester(url string, key Key) *Requester {
	return &Requester{Key: key, url: url, inbox: newInbox()}
}

// Connect opens an authenticated session at the relay; ctx bounds the opening only. It replaces the session that is open,
// if any. Call Disconnect when done.
func (r *Requester) Connect(ctx context.Context) error {
	session, err := connect(ctx, r.url, r.Key)
	if err != nil {
		return err
	}
	r.replace(session)
	return nil
}

// Disconnect ends the session.
func (r *Requester) Disconnect() { r.replace(nil) }

func (r *Requester) replace(session *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil {
		r.session.close()
	}
	r.session = session
}

func (r *Requester) online() (*session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == nil {
		return nil, errDisconnected
	}
	return r.session, nil
}

// Listen subscribes to the outcomes of the requester's requests and to the owners' KeyPackages, and returns when both
// subscriptions are open. Outcomes are believed if the key of the relay's NIP-11 document has signed them. The limit for KeyPackages
// is 0: without one, a relay may take the subscription itself for a request.
func (r *Requester) Listen(ctx context.Context, owners ...string) error {
	session, err := r.online()
	if err != nil {
		return err
	}
	said, err := ReadAnnouncement(ctx, r.url)
	if err != nil {
		return err
	}
	outcomes := nostr.Filter{Kinds: []int{said.Outcome}, Tags: nostr.TagMap{"p": {r.Pubkey}}}
	if err := session.subscribe(ctx, "outcomes", func(raw string) { r.inbox.outcome(raw, said.Pubkey) }, outcomes); err != nil {
		return err
	}
	keyPackages := nostr.Filter{
		Kinds: []int{keypackage.KindAddressableKeyPackage, keypackage.KindKeyPackage}, Authors: owners, LimitZero: true,
	}
	return r.Subscribe(ctx, "keypackages", keyPackages)
}

// Subscribe opens a subscription of one's own making, on which KeyPackages are expected.
func (r *Requester) Subscribe(ctx context.Context, id string, filter nostr.Filter) error {
	session, err := r.online()
	if err != nil {
		return err
	}
	return session.subscribe(ctx, id, r.inbox.keyPackage, filter)
}

// Question is what a kind-447 event asks. Zero values leave the tag out.
type Question struct {
	Owners      []string
	Min         int           // KeyPackages per owner
	Ciphersuite string        // as clients write it, for example 0x0001
	TTL         time.Duration // whole seconds
	Group       string
	Kind        int // 30443 asks for an addressable KeyPackage first
}

// NewRequest returns the question as an unsigned kind-447 event. Its content is random, because the same question twice in
// one second would otherwise be one event.
func NewRequest(q Question) *nostr.Event {
	event := newEvent(keypackage.KindRequest, rand.Text())
	for _, owner := range q.Owners {
		event.Tags = append(event.Tags, nostr.Tag{"p", owner})
	}
	add := func(name, value string, wanted bool) {
		if wanted {
			event.Tags = append(event.Tags, nostr.Tag{name, value})
		}
	}
	add("min", strconv.Itoa(q.Min), q.Min != 0)
	add("cs", q.Ciphersuite, q.Ciphersuite != "")
	add("ttl", strconv.Itoa(int(q.TTL.Seconds())), q.TTL != 0)
	add("h", q.Group, q.Group != "")
	add("k", strconv.Itoa(q.Kind), q.Kind != 0)
	return event
}

// Ask sends the question as a kind-447 event and returns its id when the relay has accepted it.
func (r *Requester) Ask(ctx context.Context, q Question) (requestID string, err error) {
	event := NewRequest(q)
	if err := r.Sign(event); err != nil {
		return "", err
	}
	return event.ID, r.Publish(ctx, event)
}

// Publish sends a signed event and waits until the relay has accepted it. The error wraps [ErrRefused] if it has not.
func (r *Requester) Publish(ctx context.Context, event *nostr.Event) error {
	session, err := r.online()
	if err != nil {
		return err
	}
	return session.publish(ctx, event)
}
