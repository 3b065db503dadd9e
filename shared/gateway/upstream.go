package gateway

import (
	"slices"
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

// unreachable is told to clients.
const unreachable = "error: the relay behind this one cannot be reached"

// link is a session's own connection to upstream. It is opened with the session, and again when a frame needs it. Its methods
// may be called concurrently.
type link struct {
	s         *session
	challenge chan string // the first that upstream sends

	mu    sync.Mutex     // held while connecting: one attempt at a time, and the others want its result
	conn  *upstream.Conn // nil if there is none
	again time.Time      // when the next attempt may be made, if the last has failed
}

// connect returns the connection, and makes it if need be; nil if that fails, or has failed just now.
func (l *link) connect() *upstream.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil || time.Now().Before(l.again) {
		return l.conn
	}
	conn, err := l.s.Upstream.Connect(l.s.ctx, l.s.client)
	if err != nil && l.s.ctx.Err() != nil { // the client has gone: that says nothing about upstream
		return nil
	}
	l.s.tally.upstreamDialled.Add(1)
	if err != nil {
		l.again = time.Now().Add(dialAgainAfter)
		l.s.tally.upstreamFailed.Add(1)
		l.s.Log.Warn("upstream unreachable", "error", err)
		return nil
	}
	l.conn = conn
	go l.s.guarded(func() { l.read(conn) })
	return conn
}

// read deals with what comes from upstream. Its end is that of the session.
func (l *link) read(conn *upstream.Conn) {
	defer conn.Close()
	for {
		frame, err := conn.Read(l.s.ctx)
		if err != nil {
			break
		}
		l.s.fromUpstream(frame)
	}
	if l.s.ctx.Err() == nil {
		l.s.retireSoon("the relay behind this one has ended the connection")
	}
}

// send passes a frame on, byte for byte, or returns why it cannot. A connection that breaks ends the session elsewhere.
func (l *link) send(frame []byte) (refusal string) {
	if l == nil {
		return unreachable
	}
	conn := l.connect()
	if conn == nil {
		return unreachable
	}
	_ = conn.Write(l.s.ctx, frame)
	return ""
}

// fromUpstream deals with one frame of upstream: only what cannot be mistaken for something of ours goes on to the client. Whatever
// carries no event and answers nothing of ours passes as it is.
func (s *session) fromUpstream(frame []byte) {
	label, err := wire.Label(frame)
	if err != nil {
		return
	}
	if !slices.Contains([]string{"AUTH", "EVENT", "EOSE", "CLOSED", "OK"}, label) {
		s.answer(frame)
		return
	}
	e, err := wire.Split(frame)
	id, ok := e.Text(0)
	if err != nil || !ok {
		return
	}
	switch label {
	case "AUTH": // the client is not shown it: an AUTH is meant for one relay (NIP-42)
		select {
		case s.link.challenge <- id:
		default:
		}
	case "EVENT": // passes if it was asked for, unless its kind is ours or cannot be told
		kind, ok := wire.Kind(e.Object(1))
		if ok && len(e) == 2 && !slices.Contains(hiddenIn(s.Ports.Serving()), kind) && s.expects(id, kind) {
			s.answer(frame)
		}
	case "OK":
		if _, isLogin := s.logins.get(id); !isLogin {
			s.answer(frame)
		}
	default:
		s.endsUpstream(id, frame, label == "CLOSED")
	}
}

// hidden are the kinds of which upstream is not asked, and has nothing to say.
var hidden = []int{keypackage.KindOutcome, keypackage.KindLevel, keypackage.KindKeyPackage, keypackage.KindRequest}

// hiddenIn are those that are hidden in the mode of the moment.
func hiddenIn(serving bool) []int {
	if serving {
		return hidden
	}
	return hidden[:2]
}
