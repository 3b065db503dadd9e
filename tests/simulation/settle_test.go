package simulation

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// redeliveries bounds how often the platform tries again. Without faults few are needed, unless the machine is so busy that
// transactions wait too long for each other.
const redeliveries = 20

// Settle lets everything come to its end without further faults: events and messages are repeated until they are
// acknowledged, and the scheduled function runs until the last delivery must have ended. With everybody present, all
// requesters come and listen first, so that whatever can be delivered is.
func (s *Simulation) Settle(ctx context.Context, everybody bool) {
	s.Relay.calm()
	if everybody {
		for i := range s.population.Requesters {
			s.Leave(i)
			s.Enter(ctx, i, true)
		}
	}
	s.drain(ctx)
	// The first run finds the requests whose trigger was lost, 30 s after their receipt. At the second, the last delivery
	// and its fence are over.
	for _, step := range []time.Duration{time.Minute, 6 * time.Minute} {
		s.Clock.Advance(step)
		for again := 0; !s.Tick(ctx, new(Invocation)) && again < redeliveries; again++ { // it runs every minute
		}
		s.drain(ctx)
	}
}

// drain repeats events and messages until they are acknowledged. A lease that nobody ends runs out meanwhile.
func (s *Simulation) drain(ctx context.Context) {
	for range redeliveries {
		for i := s.Triggers(); i > 0; i-- {
			s.Claim(ctx, i-1, false, new(Invocation))
		}
		if s.topic.Outstanding() == 0 && s.Triggers() == 0 {
			return
		}
		s.deliverAll(ctx)
		s.Clock.Advance(keypackage.Lease)
	}
}

// deliverAll hands over as many messages as are outstanding, as they come.
func (s *Simulation) deliverAll(ctx context.Context) {
	for left := s.topic.Outstanding(); left > 0; {
		pending, err := s.topic.Pending(ctx)
		s.failed(err)
		for i := len(pending); i > 0; i-- {
			s.Deliver(ctx, i-1, false, new(Invocation))
		}
		if left -= len(pending); len(pending) == 0 {
			return
		}
	}
}

// calm makes the relay honest from now on.
func (r *Relay) calm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaviours = nil
}
