package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip42"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

const (
	// maxFrame is above any frame that a check causes.
	maxFrame = 1 << 20
	// arrivalTime is how long something that the relay has said to have sent may be under way, and an answer to a client.
	arrivalTime = 5 * time.Second
	// readBuffer keeps what the kernel takes in for a session that does not read far below what such a check sends.
	readBuffer = 64 << 10
)

// arrival is arrivalTime with what this network or machine may add: what is merely slow is not called missing.
func (p *probe) arrival() time.Duration { return arrivalTime + p.Slack }

// session is one websocket connection. It reads only while one of its methods runs, so a session that is left alone is a
// client that does not read. Not safe for concurrent use.
type session struct {
	probe     *probe
	conn      *websocket.Conn
	challenge string   // NIP-42; "" until the relay has sent one
	events    []string // received so far, as the relay wrote them
	on        []string // the subscription of each
}

// visit opens a session that is nobody's.
func (p *probe) visit(ctx context.Context) (*session, error) {
	dialer := &http.Client{Transport: &http.Transport{DialContext: dial}}
	conn, _, err := websocket.Dial(ctx, p.Relay, &websocket.DialOptions{HTTPClient: dialer})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.Relay, err)
	}
	conn.SetReadLimit(maxFrame)
	s := &session{probe: p, conn: conn}
	p.open = append(p.open, s)
	return s, nil
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetReadBuffer(readBuffer)
}

// join opens a session that is authenticated (NIP-42).
func (p *probe) join(ctx context.Context, key actors.Key) (*session, error) {
	s, err := p.visit(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(ctx, key); err != nil {
		return nil, fmt.Errorf("authenticate (NIP-42): %w", err)
	}
	return s, nil
}

// authenticate answers the relay's challenge. NIP-42 lets a relay send it when it likes: one that has sent none is asked for
// what it serves to the author only.
func (s *session) authenticate(ctx context.Context, key actors.Key) error {
	if s.challenge != "" {
		return s.prove(ctx, key)
	}
	const asking = "authenticate"
	ask := time.AfterFunc(s.probe.Quiet, func() { _ = s.send(ctx, "REQ", asking, keyPackagesOf(key)) })
	if _, err := s.until(ctx, s.probe.arrival(), func(m message) bool { return m.label() == "AUTH" }); err != nil {
		ask.Stop()
		return fmt.Errorf("wait for the challenge: %w", err)
	}
	if !ask.Stop() {
		if err := s.send(ctx, "CLOSE", asking); err != nil {
			return err
		}
	}
	return s.prove(ctx, key)
}

// prove answers the challenge of this connection for a key.
func (s *session) prove(ctx context.Context, key actors.Key) error {
	proof := nip42.CreateUnsignedAuthEvent(s.challenge, key.Pubkey, s.probe.Relay)
	return s.submit(ctx, "AUTH", signed(key, &proof))
}

// publish sends an event and fails unless the relay accepts it.
func (s *session) publish(ctx context.Context, event *nostr.Event) error {
	if err := s.submit(ctx, "EVENT", event); err != nil {
		return fmt.Errorf("publish a kind-%d event: %w", event.Kind, err)
	}
	return nil
}

func (s *session) submit(ctx context.Context, label string, event *nostr.Event) error {
	if err := s.send(ctx, label, event); err != nil {
		return err
	}
	ok, err := s.until(ctx, 2*s.probe.arrival(), func(m message) bool { return m.label() == "OK" && m.text(1) == event.ID })
	if err != nil {
		return fmt.Errorf("wait for the OK: %w", err)
	}
	if len(ok) < 3 || string(ok[2]) != "true" {
		return fmt.Errorf("refused by the relay: %s", ok.text(3))
	}
	return nil
}

// subscribe opens a subscription, or tries to, and returns when everything stored has arrived.
func (s *session) subscribe(ctx context.Context, id string, filters ...nostr.Filter) error {
	_, err := s.ask(ctx, id, filters...)
	return err
}

// ask subscribes and returns why the subscription was closed; "" if it was not.
func (s *session) ask(ctx context.Context, id string, filters ...nostr.Filter) (reason string, err error) {
	request := []any{"REQ", id}
	for _, f := range filters {
		request = append(request, f)
	}
	if err := s.send(ctx, request...); err != nil {
		return "", err
	}
	end, err := s.until(ctx, 2*s.probe.arrival(), func(m message) bool {
		return (m.label() == "EOSE" || m.label() == "CLOSED") && m.text(1) == id
	})
	if err != nil {
		return "", fmt.Errorf("wait for the end of stored events: %w", err)
	}
	return end.text(2), nil
}

// serves fails unless the answer to the filter has the KeyPackage, or has it not.
func (s *session) serves(ctx context.Context, filter nostr.Filter, id string, wanted bool) error {
	s.forget()
	if err := s.subscribe(ctx, "read", filter); err != nil {
		return fmt.Errorf("could not ask for %v: %w", filter, err)
	}
	if saw := contains(s.events, id); saw != wanted {
		return fmt.Errorf("asked for %v: the event was served: %v", filter, saw)
	}
	return nil
}

// all returns the events that have arrived since the session was opened, when at least n have and then nothing more does for
// the quiet time, or when n do not arrive in time. It is the last thing to ask of a session: it may be closed then.
func (s *session) all(ctx context.Context, n int) ([]string, error) {
	if err := s.await(ctx, n, s.probe.arrival()); err != nil {
		return s.events, notOver(ctx, err)
	}
	none := nostr.Filter{IDs: []string{actors.NewKey().Pubkey}} // what was sent before is there when this is answered
	if err := s.subscribe(ctx, "barrier", none); err != nil {
		return s.events, err
	}
	_, err := s.until(ctx, s.probe.Quiet, func(message) bool { return false })
	return s.events, notOver(ctx, err)
}

// await reads until at least n events have arrived since the session was opened.
func (s *session) await(ctx context.Context, n int, patience time.Duration) error {
	if len(s.events) >= n {
		return nil
	}
	_, err := s.until(ctx, patience, func(message) bool { return len(s.events) >= n })
	return err
}

// forget leaves aside what has arrived so far.
func (s *session) forget() { s.events, s.on = nil, nil }

// notOver makes nothing of an error that only says that nothing more came.
func notOver(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// message is one of the relay's (NIP-01).
type message []json.RawMessage

func (m message) text(i int) (s string) {
	if i < len(m) {
		_ = json.Unmarshal(m[i], &s)
	}
	return s
}

func (m message) label() string { return m.text(0) }

// until reads until a message is the one that is waited for, and keeps the events that come before.
func (s *session) until(ctx context.Context, patience time.Duration, found func(message) bool) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, frame, err := s.conn.Read(ctx)
		if err != nil {
			return nil, err
		}
		var m message
		if json.Unmarshal(frame, &m) != nil {
			return nil, errors.New("the relay sent a frame that is not a JSON array")
		}
		switch {
		case m.label() == "EVENT" && len(m) == 3:
			s.events, s.on = append(s.events, string(m[2])), append(s.on, m.text(1))
		case m.label() == "AUTH":
			s.challenge = m.text(1)
		}
		if found(m) {
			return m, nil
		}
	}
}

func (s *session) send(ctx context.Context, message ...any) error {
	frame, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return s.conn.Write(ctx, websocket.MessageText, frame)
}
