package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	// challengeWithin is how long a session waits for upstream's challenge, when that is to be used: relays send it at once, and
	// a client that got ours meanwhile would sign no other.
	challengeWithin = 200 * time.Millisecond
	// dialAgainAfter is how soon a session tries again to reach upstream, when a frame needs it.
	dialAgainAfter = 3 * time.Second
)

// errUnreachable is told to clients.
var errUnreachable = errors.New("error: the relay behind this one cannot be reached")

// link is a session's own connection to upstream. It is opened with the session, and again when a frame needs it. Its methods
// may be called concurrently.
type link struct {
	s         *session
	challenge chan string // the first that upstream sends

	mu       sync.Mutex
	conn     *upstream.Conn // nil unless connected
	dialling chan struct{}  // closed when the attempt is over; nil if there is none
	retry    time.Time      // when the next attempt may be made
}

func newLink(s *session) *link { return &link{s: s, challenge: make(chan string, 1)} }

// start begins to connect, unless that is under way, has been done, or has failed just now.
func (l *link) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil || l.dialling != nil || time.Now().Before(l.retry) {
		return
	}
	l.dialling = make(chan struct{})
	go l.s.guarded(l.dial)
}

func (l *link) dial() {
	l.s.tally.upstreamDialled.Add(1)
	conn, err := l.s.Upstream.Connect(l.s.ctx, l.s.client)
	l.mu.Lock()
	l.conn, l.retry = conn, time.Now().Add(dialAgainAfter)
	close(l.dialling)
	l.dialling = nil
	l.mu.Unlock()
	if err != nil {
		l.s.tally.upstreamFailed.Add(1)
		l.s.Log.Warn("upstream unreachable", "error", err)
		return
	}
	for {
		frame, err := conn.Read(l.s.ctx)
		if err != nil {
			break
		}
		l.s.fromUpstream(frame)
	}
	conn.Close()
	if l.s.ctx.Err() == nil {
		l.s.retireWithin(goodbye, "the relay behind this one has ended the connection")
	}
}

// send passes a frame on, byte for byte. The error is errUnreachable. A connection that breaks ends the session elsewhere.
func (l *link) send(frame []byte) error {
	if l == nil {
		return errUnreachable
	}
	conn := l.connected()
	if conn == nil {
		return errUnreachable
	}
	_ = conn.Write(l.s.ctx, frame)
	return nil
}

// connected returns the connection, for which it waits, or nil.
func (l *link) connected() *upstream.Conn {
	l.start()
	l.mu.Lock()
	conn, dialling := l.conn, l.dialling
	l.mu.Unlock()
	if conn != nil || dialling == nil {
		return conn
	}
	select {
	case <-dialling:
	case <-l.s.ctx.Done():
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// adoptChallenge makes upstream's challenge the session's own, if upstream shares its logins and sends one in time.
func (l *link) adoptChallenge() {
	if !l.s.SharesLogin {
		return
	}
	ctx, cancel := context.WithTimeout(l.s.ctx, challengeWithin)
	defer cancel()
	select {
	case l.s.challenge = <-l.challenge:
		l.s.passOn = true
	case <-ctx.Done():
	}
}

func (l *link) close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
}

// fromUpstream deals with one frame of upstream: only what cannot be mistaken for something of ours goes on to the client. Whatever
// carries no event and answers nothing of ours passes as it is.
func (s *session) fromUpstream(frame []byte) {
	label, err := wire.Label(frame)
	if err != nil {
		return
	}
	switch label {
	case "AUTH":
		s.hearChallenge(frame)
	case "EVENT":
		s.hearEvent(frame)
	case "EOSE", "CLOSED":
		s.hearEnd(label, frame)
	case "OK":
		e, err := wire.Split(frame)
		if id, ok := e.Text(0); err == nil && ok && !s.isLogin(id) {
			_ = s.answer(frame)
		}
	default:
		_ = s.answer(frame)
	}
}

// hearChallenge keeps upstream's challenge from the client: an AUTH is meant for one relay (NIP-42).
func (s *session) hearChallenge(frame []byte) {
	e, err := wire.Split(frame)
	if challenge, ok := e.Text(0); err == nil && ok {
		select {
		case s.link.challenge <- challenge:
		default:
		}
	}
}

// hearEvent passes on an event that was asked for, unless its kind is ours or cannot be told.
func (s *session) hearEvent(frame []byte) {
	e, err := wire.Split(frame)
	if err != nil || len(e) != 2 {
		return
	}
	id, _ := e.Text(0)
	event, _ := e.Object(1)
	kind, ok := wire.Kind(event)
	if !ok || isHidden(kind, s.Ports.Serving()) || !s.expects(id, kind) {
		return
	}
	_ = s.answer(frame)
}

// isHidden reports whether upstream has nothing to say about events of that kind.
func isHidden(kind int, serving bool) bool {
	switch kind {
	case keypackage.KindKeyPackage, keypackage.KindRequest:
		return serving
	case keypackage.KindOutcome, keypackage.KindLevel:
		return true
	}
	return false
}

func (s *session) hearEnd(label string, frame []byte) {
	e, err := wire.Split(frame)
	if id, ok := e.Text(0); err == nil && ok {
		s.endsUpstream(id, frame, label == "CLOSED")
	}
}
