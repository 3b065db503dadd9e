package gateway_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// store is what stands behind the gateway's ports in these tests: stock in memory, of which every claim takes the oldest.
type store struct {
	gateway *gateway.Gateway
	off     atomic.Bool   // not serving
	hold    chan struct{} // if not nil, publishing and claims wait for it

	mu       sync.Mutex
	stock    []gateway.Event
	shared   map[string]bool // published as such
	deleted  []string
	taken    []gateway.Event
	claims   []gateway.Claim
	attended []string
	statuses []outbox.Status            // of deliveries
	slow     chan struct{}              // if not nil, whoever reads an owner's stock next says here that it has, and goes on when told
	granted  map[string][]gateway.Event // by requester and request
	level    *gateway.Event
	err      error  // what every call fails with
	refusal  string // what Publish, Delete and Take refuse with
	panics   bool   // every call panics
	calls    int
}

func (s *store) call() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.panics {
		panic("secret content")
	}
	return s.err
}

func (s *store) answer() (gateway.Answer, error) {
	if err := s.call(); err != nil {
		return gateway.Answer{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return gateway.Answer{Accepted: s.refusal == "", Reason: s.refusal}, nil
}

func (s *store) Publish(_ context.Context, e gateway.Event, shared bool) (gateway.Answer, error) {
	if s.hold != nil {
		<-s.hold
	}
	a, err := s.answer()
	if a.Accepted {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stock = append(s.stock, e)
		if s.shared == nil {
			s.shared = map[string]bool{}
		}
		s.shared[e.ID] = shared
	}
	return a, err
}

func (s *store) Delete(_ context.Context, e gateway.Event) (gateway.Answer, error) {
	a, err := s.answer()
	if a.Accepted {
		s.mu.Lock()
		defer s.mu.Unlock()
		for tag := range e.Tags.FindAll("e") {
			s.deleted = append(s.deleted, tag[1])
			s.stock = slices.DeleteFunc(s.stock, func(p gateway.Event) bool { return p.ID == tag[1] && p.PubKey == e.PubKey })
		}
	}
	return a, err
}

func (s *store) find(kind int, owners ...string) []gateway.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []gateway.Event
	for _, e := range s.stock {
		if e.Kind == kind && slices.Contains(owners, e.PubKey) {
			found = append(found, e)
		}
	}
	return found
}

func (s *store) Own(_ context.Context, owner string) ([]gateway.Event, error) {
	found, err := s.find(keypackage.KindKeyPackage, owner), s.call()
	s.mu.Lock()
	slow := s.slow
	s.slow = nil
	s.mu.Unlock()
	if slow != nil {
		slow <- struct{}{}
		<-slow
	}
	return found, err
}

func (s *store) Addressable(_ context.Context, owners []string) ([]gateway.Event, error) {
	return s.find(keypackage.KindAddressableKeyPackage, owners...), s.call()
}

func (s *store) Take(_ context.Context, e gateway.Event) (gateway.Answer, func(context.Context), error) {
	a, err := s.answer()
	if !a.Accepted {
		return a, nil, err
	}
	s.mu.Lock()
	s.taken = append(s.taken, e)
	s.mu.Unlock()
	return a, func(ctx context.Context) {
		if s.hold != nil {
			<-s.hold
		}
		for tag := range e.Tags.FindAll("p") {
			s.grant(ctx, e.PubKey, tag[1], e.ID)
		}
	}, nil
}

func (s *store) Claim(ctx context.Context, c gateway.Claim) error {
	if err := s.call(); err != nil {
		return err
	}
	s.mu.Lock()
	s.claims = append(s.claims, c)
	s.mu.Unlock()
	if s.hold != nil {
		<-s.hold
	}
	for _, owner := range c.Owners {
		if c.Addressable && len(s.find(keypackage.KindAddressableKeyPackage, owner)) > 0 {
			continue
		}
		s.grant(ctx, c.Requester, owner, "req")
	}
	return nil
}

// grant hands out the oldest package, or returns it.
func (s *store) grant(ctx context.Context, requester, owner, request string) {
	e, ok := s.pop(owner)
	if !ok {
		return
	}
	s.mu.Lock() // a claim is recorded before anything is sent
	if s.granted == nil {
		s.granted = map[string][]gateway.Event{}
	}
	s.granted[requester+request] = append(s.granted[requester+request], e)
	s.mu.Unlock()
	wait := s.gateway.Deliver(gateway.DirectEvent{
		ID: request + "_" + e.ID, Recipient: requester, Requests: []string{request}, Event: e, Expires: time.Now().Add(time.Minute),
	})
	status := wait(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = append(s.statuses, status)
	if status != outbox.Delivered {
		s.stock = append(s.stock, e)
		delete(s.granted, requester+request)
	}
}

func (s *store) Granted(_ context.Context, requester string, requests []string) ([]gateway.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []gateway.Event
	for _, request := range requests {
		all = append(all, s.granted[requester+request]...)
	}
	return all, s.err
}

func (s *store) pop(owner string) (gateway.Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.stock, func(e gateway.Event) bool { return e.PubKey == owner && e.Kind == keypackage.KindKeyPackage })
	if i < 0 {
		return gateway.Event{}, false
	}
	e := s.stock[i]
	s.stock = slices.Delete(s.stock, i, i+1)
	return e, true
}

func (s *store) Attend(_ context.Context, requester string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attended = append(s.attended, requester)
	return nil
}

func (s *store) Level(context.Context, string) (*gateway.Event, error) {
	if err := s.call(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level, nil
}

func (s *store) Serving() bool { return !s.off.Load() }

// look reads the store while nothing changes it.
func look[T any](s *store, read func(*store) T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return read(s)
}

var errDown = errors.New("secret address of the store")

// signed returns an event with its bytes, signed by a key of its own or the given one.
func signed(key string, kind int, content string, tags ...nostr.Tag) gateway.Event {
	if tags == nil {
		tags = nostr.Tags{}
	}
	e := nostr.Event{Kind: kind, Content: content, Tags: tags, CreatedAt: nostr.Now()}
	if err := e.Sign(key); err != nil {
		panic(err)
	}
	return gateway.Event{Event: &e, Raw: e.String()}
}

func pub(key string) string {
	p, err := nostr.GetPublicKey(key)
	if err != nil {
		panic(err)
	}
	return p
}
