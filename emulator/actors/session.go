package actors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/nbd-wtf/go-nostr"
)

// ErrRefused is what the relay's negative answers wrap.
var ErrRefused = errors.New("refused by the relay")

// errDisconnected is why a session that the actor closed ends.
var errDisconnected = errors.New("disconnected")

// session is one authenticated websocket connection. It reads frames itself instead of leaving that to go-nostr's Relay,
// which drops without a word what does not match or verify, and re-encodes the rest: the point here is to see what the
// relay really sent.
type session struct {
	conn *nostr.Connection
	end  context.CancelCauseFunc
	done <-chan struct{} // closed when the session has ended; then err tells why
	err  func() error

	challenge chan string // NIP-42, sent once by the relay

	mu            sync.Mutex
	answers       map[string]chan<- error // to published events, by event id
	subscriptions map[string]*subscription
}

// subscription is what to do with the frames of one REQ.
type subscription struct {
	event  func(raw string)
	stored chan error // nil once everything stored was sent, or why there is nothing more
}

// connect opens a session and authenticates it (NIP-42). ctx bounds the opening only.
func connect(ctx context.Context, url string, key Key) (*session, error) {
	conn, err := nostr.NewConnection(ctx, url, addressOf(key), nil)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	life, end := context.WithCancelCause(context.Background())
	s := &session{
		conn:          conn,
		end:           end,
		done:          life.Done(),
		err:           func() error { return context.Cause(life) },
		challenge:     make(chan string, 1),
		answers:       map[string]chan<- error{},
		subscriptions: map[string]*subscription{},
	}
	go s.read(life)
	if err := s.authenticate(ctx, url, key); err != nil {
		s.close()
		return nil, fmt.Errorf("authenticate at %s: %w", url, err)
	}
	return s, nil
}

// addressOf gives everybody an address, as a proxy before the relay would: on one machine all have the same, and would share the
// limits that relays have for an address. Where there is a proxy it adds the true one.
func addressOf(key Key) http.Header {
	sum := sha256.Sum256([]byte(key.Pubkey))
	return http.Header{"X-Forwarded-For": {netip.AddrFrom4([4]byte{10, sum[0], sum[1], sum[2]}).String()}}
}

// close ends the session. It does not wait for the relay's goodbye, no more than a phone that loses its network.
func (s *session) close() { s.end(errDisconnected) }

// read handles frames, one after another in the order in which they came, until the session ends.
func (s *session) read(life context.Context) {
	for {
		var frame bytes.Buffer
		if err := s.conn.ReadMessage(life, &frame); err != nil {
			s.end(fmt.Errorf("connection lost: %w", err))
			_ = s.conn.Close()
			return
		}
		s.handle(frame.Bytes())
	}
}

func (s *session) authenticate(ctx context.Context, url string, key Key) error {
	var challenge string
	select {
	case challenge = <-s.challenge:
	case <-s.done:
		return s.err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	event := newEvent(nostr.KindClientAuthentication, "", nostr.Tag{"relay", url}, nostr.Tag{"challenge", challenge})
	if err := key.Sign(event); err != nil {
		return err
	}
	return s.answer(ctx, event.ID, nostr.AuthEnvelope{Event: *event})
}

// publish sends the event and waits until the relay has accepted it.
func (s *session) publish(ctx context.Context, event nostr.Event) error {
	if err := s.answer(ctx, event.ID, nostr.EventEnvelope{Event: event}); err != nil {
		return fmt.Errorf("publish a kind-%d event: %w", event.Kind, err)
	}
	return nil
}

// answer sends a message with an event and waits for the relay's OK to it.
func (s *session) answer(ctx context.Context, eventID string, message message) error {
	answer := make(chan error, 1)
	s.mu.Lock()
	s.answers[eventID] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.answers, eventID)
	}()
	return s.exchange(ctx, message, answer)
}

// subscribe opens a subscription and waits until everything stored has been sent. The function receives each event as
// the relay wrote it, from the goroutine that reads; it must not wait.
func (s *session) subscribe(ctx context.Context, id string, event func(raw string), filters ...nostr.Filter) error {
	stored := make(chan error, 1)
	s.mu.Lock()
	s.subscriptions[id] = &subscription{event, stored}
	s.mu.Unlock()
	if err := s.exchange(ctx, nostr.ReqEnvelope{SubscriptionID: id, Filters: filters}, stored); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// fetch returns the stored events that the filter selects.
func (s *session) fetch(ctx context.Context, filter nostr.Filter) ([]string, error) {
	const id = "fetch"
	var mu sync.Mutex // events that are published meanwhile may still come in when the answer is taken
	var raws []string
	collect := func(raw string) {
		mu.Lock()
		defer mu.Unlock()
		raws = append(raws, raw)
	}
	if err := s.subscribe(ctx, id, collect, filter); err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.subscriptions, id)
	s.mu.Unlock()
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(raws), s.send(ctx, nostr.CloseEnvelope(id))
}

// exchange sends a message and waits for what is said about it.
func (s *session) exchange(ctx context.Context, message message, answer <-chan error) error {
	if err := s.send(ctx, message); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-s.done:
		return s.err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type message interface{ MarshalJSON() ([]byte, error) }

func (s *session) send(ctx context.Context, message message) error {
	frame, err := message.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return s.conn.WriteMessage(ctx, frame)
}
