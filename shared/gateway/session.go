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
	// lifetime ends a session before the platform cuts it off without a close frame: Cloud Run at 60 minutes at the latest.
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
	room      *semaphore.Weighted // for what has not been dealt with; as much as in the outbox
	gone      atomic.Bool         // nothing more comes from the client: only what it published still counts
	retired   atomic.Bool         // what comes from now on is not dealt with
	work      sync.WaitGroup      // what was begun beside the frames
	slots     *semaphore.Weighted // one for each of that
	pings     *time.Timer

	ctx context.Context // ends with the session
	end context.CancelFunc

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
		out: outbox.New(), inbox: make(chan []byte, outbox.Frames), room: semaphore.NewWeighted(outbox.Bytes),
		slots: semaphore.NewWeighted(bounds.MaxWork), subscriptions: map[string]*subscription{},
	}
	if g.Upstream != nil {
		s.link = &link{s: s, challenge: make(chan string, 1)}
	}
	return s
}

// run serves the client until it has gone or its time is over, and returns when all that it has begun is recorded.
func (s *session) run(parent context.Context) {
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(parent))
	defer s.end()
	var writer, processor sync.WaitGroup
	writer.Go(func() { s.guarded(func() { s.out.Run(s.ctx, s.write, s.broken) }) })
	s.pings = time.AfterFunc(pingEvery, s.ping)
	defer s.pings.Stop()
	s.greet()
	s.sessions.add(everybody, s)
	if s.addresses.Closed() { // which may have missed it
		go s.retireSoon(string(bounds.Over))
	}
	life := lifetime
	if cut, ok := parent.Deadline(); ok {
		life = min(life, time.Until(cut)-goodbye)
	}
	over := time.AfterFunc(life, func() { s.retireSoon("this connection's time is over, come again") })
	defer over.Stop()
	processor.Go(func() { s.guarded(s.process) })
	s.guarded(s.read)
	s.gone.Store(true)
	close(s.inbox)
	s.sessions.remove(s)
	processor.Wait()
	s.work.Wait()
	s.end()
	_ = s.conn.CloseNow()
	writer.Wait()
}

// greet sends the challenge: clients that authenticate at once and those that wait to be told both exist.
func (s *session) greet() {
	if s.link != nil {
		go s.guarded(func() { s.link.connect() })
		if s.SharesLogin {
			select {
			case s.challenge = <-s.link.challenge:
				s.passOn = true
			case <-time.After(challengeWithin):
			}
		}
	}
	s.answer(wire.Message("AUTH", s.challenge))
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

// answer puts a frame into the outbox, and waits while that is full.
func (s *session) answer(frame []byte) { _ = s.out.Put(s.ctx, frame) } // fails only when the session has ended

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
		if s.room.Acquire(s.ctx, outbox.Weight(frame)) != nil {
			return
		}
		s.inbox <- frame // there is room
	}
}

// process deals with the inbox, one frame after another, and ends the session when the client has gone and nothing is left.
func (s *session) process() {
	defer s.end()
	for frame := range s.inbox {
		if s.ctx.Err() == nil {
			s.handle(frame)
		}
		s.room.Release(outbox.Weight(frame))
	}
}

// retireSoon is retire for callers without a context.
func (s *session) retireSoon(reason string) {
	ctx, cancel := context.WithTimeout(s.ctx, goodbye)
	defer cancel()
	s.retire(ctx, reason)
}

// retire ends the session in good order: what came before is dealt with, its answers are written, then a close frame.
func (s *session) retire(ctx context.Context, reason string) {
	s.retired.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if s.room.Acquire(ctx, outbox.Bytes) == nil { // everything before has been dealt with
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

// begin does slow work beside the frames that follow. One of the slots has been taken for it.
func (s *session) begin(work func()) {
	s.work.Go(func() {
		defer s.slots.Release(1)
		s.guarded(work)
	})
}

// guarded keeps a panic from ending more than this session.
func (s *session) guarded(f func()) { s.guard(f, s.end) }

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
