package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/semaphore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/bounds"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/outbox"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/upstream"
	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
)

const (
	// inboxBytes is how much of what a client has sent may wait for its turn; then no more is read. A frame that is larger waits
	// alone.
	inboxBytes = 64 << 10
	// leastWeight of a frame bounds how many may wait, however small.
	leastWeight = 1 << 10
	// lifetime ends a session before Cloud Run does: at 60 minutes at the latest, without a close frame.
	lifetime = 59 * time.Minute
	// goodbye bounds the end of a session whose time is over.
	goodbye = 20 * time.Second
	// pingEvery keeps connections open through proxies that close idle ones, of which a minute is the least.
	pingEvery = 45 * time.Second
	// portTimeout bounds one call of a port. It does not end with the session: what was begun is recorded.
	portTimeout = 10 * time.Second
)

// session is one client's connection. Its frames are dealt with one after another by process; the answers to REQs, deliveries
// and what comes from upstream happen beside that.
type session struct {
	*Gateway
	conn      *websocket.Conn
	client    upstream.Client
	shared    bounds.Limits // of the client's address
	own       bounds.Limits
	challenge string // what the client must sign to authenticate
	passOn    bool   // the challenge is upstream's, which gets the AUTH
	link      *link  // nil if there is no upstream
	out       *outbox.Outbox
	inbox     chan []byte         // closed when nothing more comes from the client
	room      *semaphore.Weighted // of inboxBytes, for what has not been dealt with
	gone      atomic.Bool         // nothing more comes from the client: only what it published still counts
	retired   atomic.Bool         // what comes from now on is not dealt with
	work      sync.WaitGroup      // what was begun beside the frames
	slots     chan struct{}       // one for each of that
	pings     *time.Timer

	ctx context.Context // ends with the session
	end context.CancelCauseFunc

	mu            sync.Mutex
	keys          []string // public keys that have authenticated
	subscriptions map[string]*subscription
	stock         recent[[]string]         // ids of the keys' own stored 443s, as they were read last
	published     atomic.Int64             // how often it published one
	deliveries    recent[*outbox.Delivery] // what was sent, or is being sent, by id of the direct event
	logins        recent[struct{}]         // AUTHs that went up: upstream's OK is not for the client
}

func newSession(g *Gateway, conn *websocket.Conn, client upstream.Client, shared bounds.Limits) *session {
	s := &session{
		Gateway: g, conn: conn, client: client, shared: shared, own: bounds.OfSession(), challenge: rand.Text(),
		out: outbox.New(), inbox: make(chan []byte, inboxBytes/leastWeight), room: semaphore.NewWeighted(inboxBytes),
		slots: make(chan struct{}, bounds.MaxWork), subscriptions: map[string]*subscription{},
	}
	if g.Upstream != nil {
		s.link = newLink(s)
	}
	return s
}

// run serves the client until it has gone or its time is over, and returns when all that it has begun is recorded.
func (s *session) run(parent context.Context) {
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(parent))
	defer s.end(errGone)
	var writer, processor sync.WaitGroup
	writer.Go(func() { s.guarded(func() { s.out.Run(s.ctx, s.write, s.broken) }) })
	s.pings = time.AfterFunc(pingEvery, s.ping)
	defer s.pings.Stop()
	s.greet()
	if !s.sessions.add(s) {
		go s.retireWithin(goodbye, string(bounds.Over))
	}
	over := time.AfterFunc(life(parent), func() { s.retireWithin(goodbye, "this connection's time is over, come again") })
	defer over.Stop()
	processor.Go(func() { s.guarded(s.process) })
	s.guarded(s.read)
	s.gone.Store(true)
	close(s.inbox)
	s.sessions.remove(s)
	processor.Wait()
	s.work.Wait()
	s.end(errGone)
	_ = s.conn.CloseNow()
	writer.Wait()
}

// life is how long a session may last if the platform cuts it off at the end of parent.
func life(parent context.Context) time.Duration {
	cut, ok := parent.Deadline()
	if !ok {
		return lifetime
	}
	return min(lifetime, time.Until(cut)-goodbye)
}

// greet sends the challenge: clients that authenticate at once and those that wait to be told both exist.
func (s *session) greet() {
	if s.link != nil {
		s.link.start()
		s.link.adoptChallenge()
	}
	_ = s.answer(wire.Auth(s.challenge)) // fails only with the session
}

// write is how the outbox reaches the client.
func (s *session) write(ctx context.Context, frame []byte) error {
	return s.conn.Write(ctx, websocket.MessageText, frame)
}

// broken ends the reading from a client that cannot be written to.
func (s *session) broken(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		s.tally.tooSlow.Add(1)
	}
	go func() { _ = s.conn.CloseNow() }()
}

// answer puts a frame into the outbox, and waits while that is full. It fails only when the session has ended.
func (s *session) answer(frame []byte) error { return s.out.Put(s.ctx, frame) }

// read takes what the client sends into the inbox, until there is no more.
func (s *session) read() {
	for {
		kind, frame, err := s.conn.Read(s.ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			_ = s.conn.Close(websocket.StatusUnsupportedData, "Nostr's messages are text")
			return
		}
		if s.retired.Load() {
			continue
		}
		if s.room.Acquire(s.ctx, inboxWeight(frame)) != nil {
			return
		}
		s.inbox <- frame // there is room
	}
}

func inboxWeight(frame []byte) int64 { return int64(max(leastWeight, min(len(frame), inboxBytes))) }

// process deals with the inbox, one frame after another, and ends the session when the client has gone and nothing is left.
func (s *session) process() {
	defer s.end(errGone)
	for frame := range s.inbox {
		if s.ctx.Err() == nil {
			s.handle(frame)
		}
		s.room.Release(inboxWeight(frame))
	}
}

var (
	errGone  = errors.New("the client has gone")
	errPanic = errors.New("a panic")
)

// retireWithin is retire for callers without a context.
func (s *session) retireWithin(d time.Duration, reason string) {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	s.retire(ctx, reason)
}

// retire ends the session in good order: what came before is dealt with, its answers are written, then a close frame.
func (s *session) retire(ctx context.Context, reason string) {
	s.retired.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if s.room.Acquire(ctx, inboxBytes) == nil { // everything before has been dealt with
		await(ctx, s.work.Wait)
	}
	s.out.Flush(ctx)
	await(ctx, func() { _ = s.conn.Close(websocket.StatusGoingAway, reason) }) // waits up to 5 s for the other side
}

// await runs f and returns when it has ended, or ctx.
func await(ctx context.Context, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// reserve takes a slot for work that is to be begun, if there is one.
func (s *session) reserve() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *session) unreserve() { <-s.slots }

// begin does slow work beside the frames that follow. Its slot has been reserved.
func (s *session) begin(work func()) {
	s.work.Go(func() {
		defer s.unreserve()
		s.guarded(work)
	})
}

// guarded keeps a panic from ending more than this session.
func (s *session) guarded(f func()) { s.guard(f, func() { s.end(errPanic) }) }

// ping asks the client for a sign of life now and then. One that gives none has gone.
func (s *session) ping() {
	ctx, cancel := context.WithTimeout(s.ctx, outbox.Patience)
	defer cancel()
	if s.conn.Ping(ctx) != nil {
		_ = s.conn.CloseNow()
		return
	}
	s.pings.Reset(pingEvery)
}

// port returns the context of a call of a port.
func (s *session) port() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s.ctx), portTimeout)
}

// allow takes from what session and address may cost.
func (s *session) allow(kind bounds.Cost, units int) bool {
	if s.own.Allow(kind, units) && s.shared.Allow(kind, units) {
		return true
	}
	s.tally.rateLimited.Add(1)
	return false
}
