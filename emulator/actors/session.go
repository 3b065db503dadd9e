package actors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"

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
	conn      *nostr.Connection
	life      context.Context // its cause is why the session has ended
	end       context.CancelCauseFunc
	challenge chan string // NIP-42, sent once by the relay

	mu      sync.Mutex
	answers map[string]chan error       // to an event, by its id (OK), and to a REQ, by its subscription (EOSE, CLOSED)
	events  map[string]func(raw string) // by subscription
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
	s := &session{conn: conn, challenge: make(chan string, 1), answers: map[string]chan error{}, events: map[string]func(string){}}
	s.life, s.end = context.WithCancelCause(context.Background())
	go s.read()
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
func (s *session) read() {
	for {
		var frame bytes.Buffer
		if err := s.conn.ReadMessage(s.life, &frame); err != nil {
			s.end(fmt.Errorf("connection lost: %w", err))
			_ = s.conn.Close()
			return
		}
		s.handle(frame.Bytes())
	}
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
		event := s.events[subject]
		s.mu.Unlock()
		if event != nil && len(parts) == 3 {
			event(string(parts[2]))
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
	if waiting, ok := s.answers[subject]; ok {
		waiting <- answer
		delete(s.answers, subject)
	}
}

func (s *session) authenticate(ctx context.Context, url string, key Key) error {
	select {
	case challenge := <-s.challenge:
		event := newEvent(nostr.KindClientAuthentication, "", nostr.Tag{"relay", url}, nostr.Tag{"challenge", challenge})
		if err := key.Sign(event); err != nil {
			return err
		}
		return s.exchange(ctx, event.ID, nostr.AuthEnvelope{Event: *event})
	case <-s.life.Done():
		return context.Cause(s.life)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publish sends the event and waits until the relay has accepted it.
func (s *session) publish(ctx context.Context, event *nostr.Event) error {
	if err := s.exchange(ctx, event.ID, nostr.EventEnvelope{Event: *event}); err != nil {
		return fmt.Errorf("publish a kind-%d event: %w", event.Kind, err)
	}
	return nil
}

// subscribe opens a subscription and waits until everything stored has been sent. The function receives each event as
// the relay wrote it, from the goroutine that reads; it must not wait.
func (s *session) subscribe(ctx context.Context, id string, event func(raw string), filter nostr.Filter) error {
	s.mu.Lock()
	s.events[id] = event
	s.mu.Unlock()
	if err := s.exchange(ctx, id, nostr.ReqEnvelope{SubscriptionID: id, Filters: nostr.Filters{filter}}); err != nil {
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
	delete(s.events, id)
	s.mu.Unlock()
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(raws), s.send(ctx, nostr.CloseEnvelope(id))
}

// exchange sends a message and waits for what the relay answers about its subject.
func (s *session) exchange(ctx context.Context, subject string, message json.Marshaler) error {
	answer := make(chan error, 1)
	s.mu.Lock()
	s.answers[subject] = answer
	s.mu.Unlock()
	if err := s.send(ctx, message); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-s.life.Done():
		return context.Cause(s.life)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *session) send(ctx context.Context, message json.Marshaler) error {
	frame, err := message.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return s.conn.WriteMessage(ctx, frame)
}
