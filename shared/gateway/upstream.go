package gateway

import (
	"context"
	"errors"
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

// errUnreachable is told to clients.
var errUnreachable = errors.New("error: the relay behind this one cannot be reached")

// link is a session's own connection to upstream. It is opened with the session, and again when a frame needs it. Its methods
// may be called concurrently.
type link struct {
	s         *session
	challenge chan string // the first that upstream sends

	mu   sync.Mutex
	last *attempt
}

// attempt is one to connect.
type attempt struct {
	done  chan struct{}  // closed when it is over
	conn  *upstream.Conn // nil if it has failed
	again time.Time      // when the next may be made, if it has failed
}

func newLink(s *session) *link { return &link{s: s, challenge: make(chan string, 1)} }

// start begins to connect, unless that is under way, has been done, or has failed just now.
func (l *link) start() *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || l.last.isInVain() {
		a := &attempt{done: make(chan struct{})}
		l.last = a
		go l.s.guarded(func() { l.dial(a) })
	}
	return l.last
}

// isInVain reports whether it has failed, some time ago.
func (a *attempt) isInVain() bool {
	select {
	case <-a.done:
		return a.conn == nil && time.Now().After(a.again)
	default:
		return false
	}
}

func (l *link) dial(a *attempt) {
	l.s.tally.upstreamDialled.Add(1)
	var err error
	a.conn, err = l.s.Upstream.Connect(l.s.ctx, l.s.client)
	a.again = time.Now().Add(dialAgainAfter)
	close(a.done)
	if err != nil {
		l.s.tally.upstreamFailed.Add(1)
		l.s.Log.Warn("upstream unreachable", "error", err)
		return
	}
	defer a.conn.Close()
	for {
		frame, err := a.conn.Read(l.s.ctx)
		if err != nil {
			break
		}
		l.s.fromUpstream(frame)
	}
	if l.s.ctx.Err() == nil {
		l.s.retireWithin(goodbye, "the relay behind this one has ended the connection")
	}
}

// send passes a frame on, byte for byte. The error is errUnreachable. A connection that breaks ends the session elsewhere.
func (l *link) send(frame []byte) error {
	if l == nil {
		return errUnreachable
	}
	a := l.start()
	select {
	case <-a.done:
	case <-l.s.ctx.Done():
		return errUnreachable
	}
	if a.conn == nil {
		return errUnreachable
	}
	_ = a.conn.Write(l.s.ctx, frame)
	return nil
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

// fromUpstream deals with one frame of upstream: only what cannot be mistaken for something of ours goes on to the client. Whatever
// carries no event and answers nothing of ours passes as it is.
func (s *session) fromUpstream(frame []byte) {
	label, err := wire.Label(frame)
	if err != nil {
		return
	}
	if !slices.Contains([]string{"AUTH", "EVENT", "EOSE", "CLOSED", "OK"}, label) {
		_ = s.answer(frame)
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
	case "EVENT":
		s.hearEvent(id, e, frame)
	case "OK":
		if !s.isLogin(id) {
			_ = s.answer(frame)
		}
	default:
		s.endsUpstream(id, frame, label == "CLOSED")
	}
}

// hearEvent passes on an event that was asked for, unless its kind is ours or cannot be told.
func (s *session) hearEvent(id string, e wire.Elements, frame []byte) {
	event, _ := e.Object(1)
	kind, ok := wire.Kind(event)
	if ok && len(e) == 2 && !slices.Contains(hiddenIn(s.Ports.Serving()), kind) && s.expects(id, kind) {
		_ = s.answer(frame)
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
