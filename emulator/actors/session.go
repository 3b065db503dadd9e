package actors

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"syscall"

	"github.com/nbd-wtf/go-nostr"
)

// ErrRefused is what the relay's negative answers wrap.
var ErrRefused = errors.New("refused by the relay")

// errDisconnected is why a session that the actor closed ends.
var errDisconnected = errors.New("disconnected")

// session is one authenticated websocket connection. It reads frames itself instead of leaving that to go-nostr's Relay, which
// drops without a word what does not match or verify, and re-encodes the rest: the point is to see what the relay really sent.
type session struct {
	conn      *nostr.Connection // nil if there has never been one
	life      context.Context   // its cause is why the session has ended
	end       context.CancelCauseFunc
	challenge chan string // NIP-42, sent once by the relay

	mu      sync.Mutex
	answers map[string]chan error       // to an event, by its id (OK), and to a REQ, by its subscription (EOSE, CLOSED)
	events  map[string]func(raw string) // by subscription
}

func newSession(conn *nostr.Connection) *session {
	s := &session{conn: conn, challenge: make(chan string, 1), answers: map[string]chan error{}, events: map[string]func(string){}}
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// connect opens a session and authenticates it (NIP-42). ctx bounds the opening only.
func connect(ctx context.Context, url string, key Key) (*session, error) {
	conn, err := nostr.NewConnection(ctx, url, addressOf(key), nil)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("nothing answers at %s (%w)", url, syscall.ECONNREFUSED) // what the layers below say of it helps nobody
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	s := newSession(conn)
	go s.read()
	if err := s.authenticate(ctx, url, key); err != nil {
		s.Disconnect()
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

// Disconnect ends the session. It does not wait for the relay's goodbye, no more than a phone that loses its network.
func (s *session) Disconnect() { s.end(errDisconnected) }

// read handles frames, one after another in the order in which they came, until the session ends.
func (s *session) read() {
	for s.life.Err() == nil {
		var frame bytes.Buffer
		if err := s.conn.ReadMessage(s.life, &frame); err != nil {
			s.end(fmt.Errorf("connection lost: %w", err))
		} else {
			s.handle(frame.Bytes())
		}
	}
	_ = s.conn.Close()
}

// handle acts on one message of the relay (NIP-01, NIP-42). What is not understood, NOTICEs included, is skipped.
func (s *session) handle(frame []byte) {
	var parts []json.RawMessage
	if json.Unmarshal(frame, &parts) != nil {
		return
	}
	text := func(i int) (text string) {
		if i < len(parts) {
			_ = json.Unmarshal(parts[i], &text)
		}
		return text
	}
	refused := func(reason string) error { return fmt.Errorf("%w: %s", ErrRefused, reason) }
	switch label, subject := text(0), text(1); label {
	case "AUTH":
		select {
		case s.challenge <- subject:
		default:
		}
	case "EVENT":
		s.mu.Lock()
		told := s.events[subject]
		s.mu.Unlock()
		if told != nil && len(parts) == 3 {
			told(string(parts[2]))
		}
	case "OK":
		if len(parts) > 2 && string(parts[2]) == "true" {
			s.answered(subject, nil)
		} else {
			s.answered(subject, refused(text(3)))
		}
	case "EOSE":
		s.answered(subject, nil)
	case "CLOSED":
		s.answered(subject, refused(text(2)))
	}
}

// answered hands an answer to who waits for it, if anybody does.
func (s *session) answered(subject string, answer error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if arriving, ok := s.answers[subject]; ok {
		arriving <- answer
		delete(s.answers, subject)
	}
}

// await returns what arrives, unless the session or ctx ends before.
func await[T any](ctx context.Context, s *session, arriving <-chan T) (arrived T, err error) {
	select {
	case arrived = <-arriving:
		return arrived, nil
	case <-s.life.Done():
		return arrived, context.Cause(s.life)
	case <-ctx.Done():
		return arrived, context.Cause(ctx)
	}
}

func (s *session) authenticate(ctx context.Context, url string, key Key) error {
	challenge, err := await(ctx, s, s.challenge)
	if err != nil {
		return err
	}
	event := newEvent(nostr.KindClientAuthentication, "", nostr.Tag{"relay", url}, nostr.Tag{"challenge", challenge})
	if err := key.Sign(event); err != nil {
		return err
	}
	return s.exchange(ctx, event.ID, nostr.AuthEnvelope{Event: *event})
}

// Publish sends a signed event and waits until the relay has accepted it. The error wraps [ErrRefused] if it has not.
func (s *session) Publish(ctx context.Context, event *nostr.Event) error {
	if err := s.exchange(ctx, event.ID, nostr.EventEnvelope{Event: *event}); err != nil {
		return fmt.Errorf("publish a kind-%d event: %w", event.Kind, err)
	}
	return nil
}

// Subscribe opens a subscription, or replaces it, and waits until everything stored has been sent. told is called with each
// event, as the relay wrote it, from the goroutine that reads; it must not wait.
func (s *session) Subscribe(ctx context.Context, id string, filter nostr.Filter, told func(raw string)) error {
	s.mu.Lock()
	s.events[id] = told
	s.mu.Unlock()
	if err := s.exchange(ctx, id, nostr.ReqEnvelope{SubscriptionID: id, Filters: nostr.Filters{filter}}); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

func (s *session) unsubscribe(ctx context.Context, id string) error {
	s.mu.Lock()
	delete(s.events, id)
	s.mu.Unlock()
	return s.send(ctx, nostr.CloseEnvelope(id))
}

// exchange sends a message and waits for what the relay answers about its subject.
func (s *session) exchange(ctx context.Context, subject string, message json.Marshaler) error {
	arriving := make(chan error, 1)
	s.mu.Lock()
	s.answers[subject] = arriving
	s.mu.Unlock()
	if err := s.send(ctx, message); err != nil {
		return err
	}
	answer, err := await(ctx, s, arriving)
	return cmp.Or(err, answer)
}

func (s *session) send(ctx context.Context, message json.Marshaler) error {
	if err := context.Cause(s.life); err != nil {
		return err
	}
	frame, err := message.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return s.conn.WriteMessage(ctx, frame)
}
