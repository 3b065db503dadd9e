package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip42"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	maxFrame    = 1 << 20         // above any frame that a check causes
	arrivalTime = 5 * time.Second // for what the relay has said to have sent, and for an answer to a client
	readBuffer  = 64 << 10        // keeps what the kernel takes in for a session that does not read far below what is sent then
)

// arrival is arrivalTime with what this network or machine may add: what is merely slow is not called missing.
func (p *probe) arrival() time.Duration { return arrivalTime + p.Slack }

// session is one websocket connection. It reads only while a method runs: one that is left alone is a client that does not read.
type session struct {
	*probe
	conn      *websocket.Conn
	who       string   // for the error
	challenge string   // NIP-42; "" until the relay has sent one
	events    []string // received so far, as the relay wrote them
	on        []string // the subscription of each
}

// visit opens a session that is authenticated (NIP-42) with the keys. Without any it is nobody's.
func (p *probe) visit(keys ...actors.Key) *session {
	dialer := &http.Client{Transport: &http.Transport{DialContext: dial}}
	conn, _, err := websocket.Dial(p.ctx, p.Relay, &websocket.DialOptions{HTTPClient: dialer})
	p.must("connect to "+p.Relay, err)
	conn.SetReadLimit(maxFrame)
	s := &session{probe: p, conn: conn, who: "a session that is not authenticated"}
	p.open = append(p.open, s)
	for _, key := range keys {
		s.authenticate(key)
	}
	return s
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetReadBuffer(readBuffer)
}

// audience opens sessions that have subscribed to the owner's KeyPackages: one with each key, and nobody's at the end.
func (p *probe) audience(keys ...actors.Key) (open []*session) {
	for _, key := range keys {
		open = append(open, p.visit(key).subscribed(keyPackagesOf(p.owner)))
	}
	return append(open, p.visit().subscribed(keyPackagesOf(p.owner)))
}

// authenticate answers the relay's challenge. NIP-42 lets a relay send it when it likes: one that has sent none is asked for
// what it serves to the author only.
func (s *session) authenticate(key actors.Key) {
	if s.challenge == "" {
		const asking = "authenticate"
		ask := time.AfterFunc(s.Quiet, func() { _ = s.write("REQ", asking, keyPackagesOf(key)) })
		s.until("wait for the challenge", s.arrival(), "", "AUTH")
		if !ask.Stop() {
			s.send("CLOSE", asking)
		}
	}
	proof := nip42.CreateUnsignedAuthEvent(s.challenge, key.Pubkey, s.Relay)
	s.must("authenticate (NIP-42)", s.submit("AUTH", signed(key, &proof)))
	s.who = cmp.Or(map[actors.Key]string{s.owner: "the owner", s.requester: "the requester"}[key], "somebody else")
}

// publish sends an event that the relay must accept.
func (s *session) publish(event *nostr.Event) {
	s.must(fmt.Sprintf("publish a kind-%d event", event.Kind), s.submit("EVENT", event))
}

// submit sends an event, and returns why the relay refuses it.
func (s *session) submit(label string, event *nostr.Event) error {
	s.send(label, event)
	ok := s.until("wait for the OK", 2*s.arrival(), event.ID, "OK")
	if len(ok) < 3 || string(ok[2]) != "true" {
		return fmt.Errorf("refused by the relay: %s", ok.text(3))
	}
	return nil
}

// ask opens a subscription, or tries to. It returns when everything stored has arrived, or why the subscription was closed.
func (s *session) ask(id string, filter nostr.Filter) (refusal string) {
	s.send("REQ", id, filter)
	return s.until("wait for the end of stored events", 2*s.arrival(), id, "EOSE", "CLOSED").text(2)
}

// subscribed opens the session's main subscription.
func (s *session) subscribed(filter nostr.Filter) *session {
	s.ask("keypackages", filter)
	return s
}

// serves fails unless the answer to the filter has the event, or has it not.
func (s *session) serves(filter nostr.Filter, id string, wanted bool) {
	s.events, s.on = nil, nil
	s.ask("read", filter)
	if saw := s.saw(id); saw != wanted {
		s.fail("asked for %v: the event was served: %v", filter, saw)
	}
}

// saw reports whether the event has come, in whatever spelling.
func (s *session) saw(id string) bool {
	return slices.ContainsFunc(s.events, func(raw string) bool {
		var event nostr.Event
		return event.UnmarshalJSON([]byte(raw)) == nil && event.ID == id
	})
}

// got fails unless the events of these deliveries, in any order, are what the session has received.
func (s *session) got(want ...relayapi.Delivery) {
	received := s.all(len(want))
	for _, d := range want {
		if !slices.Contains(received, d.Event) {
			s.fail("%s received something else than was sent", s.who)
		}
	}
}

// gotEvent is got for an event whose spelling is the relay's choice.
func (s *session) gotEvent(want *nostr.Event) {
	if event, err := keypackage.VerifyEvent(s.all(1)[0]); err != nil || event.ID != want.ID {
		s.fail("%s received something else than the KeyPackage", s.who)
	}
}

// all returns the events that have arrived since the session was opened, which must be n.
func (s *session) all(n int) []string {
	s.must(s.who, s.collect(n, s.arrival()))
	if len(s.events) != n {
		s.fail("%s received %d events instead of %d", s.who, len(s.events), n)
	}
	return s.events
}

// collect reads until n events have arrived and then none for the quiet time, or until n are late. A session may be closed then.
func (s *session) collect(n int, patience time.Duration) error {
	if len(s.events) < n {
		if m, err := s.find(patience, func(message) bool { return len(s.events) >= n }); m == nil {
			return err
		}
	}
	s.ask("barrier", nostr.Filter{IDs: []string{randomID()}}) // what was sent before is there when this is answered
	_, err := s.find(s.Quiet, func(message) bool { return false })
	return err
}

// reads asks in these ways. It fails unless the session sees the event each time, or never, and is not told of it either.
func (s *session) reads(id string, allowed bool, ways ...nostr.Filter) {
	s.trying = s.who
	for _, filter := range ways {
		s.serves(filter, id, allowed)
	}
	if !allowed {
		s.toldNothing(id, ways)
	}
}

// toldNothing fails if the relay tells of the event without sending it: by its count (NIP-45), or its id (NIP-77).
func (s *session) toldNothing(id string, ways []nostr.Filter) {
	const nothingYet = "6100000200" // a client that has nothing and wants to know of everything
	for i, filter := range ways {
		name := fmt.Sprint("secret", i)
		s.send("COUNT", name, filter)
		s.send("NEG-OPEN", name, filter, nothingYet)
	}
	found, err := s.find(s.Quiet, func(m message) bool {
		var answer struct{ Count int }
		counts := m.text(0) == "COUNT" && len(m) > 2 && json.Unmarshal(m[2], &answer) == nil && answer.Count > 0
		return counts || m.text(0) == "NEG-MSG" && strings.Contains(m.text(2), id)
	})
	s.must("listen", err)
	if found != nil {
		s.fail("was told of the event by a %s", found.text(0))
	}
}

// message is one of the relay's (NIP-01): a label, what it is about, and more.
type message []json.RawMessage

func (m message) text(i int) (s string) {
	if i < len(m) {
		_ = json.Unmarshal(m[i], &s)
	}
	return s
}

// until waits for a message that must come: one with such a label, about the subject if that is not "".
func (s *session) until(what string, patience time.Duration, about string, labels ...string) message {
	m, err := s.find(patience, func(m message) bool { return slices.Contains(labels, m.text(0)) && (about == "" || m.text(1) == about) })
	if m == nil && err == nil {
		err = fmt.Errorf("nothing came for %v", patience)
	}
	s.must(what, err)
	return m
}

// find reads until the message comes that is waited for, or returns none if it is late. It keeps the events that come meanwhile.
func (s *session) find(patience time.Duration, found func(message) bool) (message, error) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for {
		_, frame, err := s.conn.Read(ctx)
		var m message
		switch {
		case err != nil && ctx.Err() != nil && s.ctx.Err() == nil: // whatever it says: what is half read when time is up is late, too
			return nil, nil
		case err != nil:
			return nil, err
		case json.Unmarshal(frame, &m) != nil:
			return nil, errors.New("the relay sent a frame that is not a JSON array")
		case m.text(0) == "EVENT" && len(m) == 3:
			s.events, s.on = append(s.events, string(m[2])), append(s.on, m.text(1))
		case m.text(0) == "AUTH":
			s.challenge = m.text(1)
		}
		if found(m) {
			return m, nil
		}
	}
}

func (s *session) send(message ...any) { s.must("send a message", s.write(message...)) }

func (s *session) write(message ...any) error {
	return s.conn.Write(s.ctx, websocket.MessageText, must(json.Marshal(message)))
}
