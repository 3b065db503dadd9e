package simulation

import (
	"context"
	"slices"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// invoke runs a function once, in an instance of its own, and reports whether it acknowledged. It returns when the
// function has ended or crashed.
func (s *Simulation) invoke(ctx context.Context, i *Invocation, function func(context.Context) error) bool {
	ctx = i.Begin(s.by(ctx, true), s.Clock.Advance, s.calls)
	defer i.End()
	defer s.count(i)
	done := make(chan error, 1)
	go func() { done <- function(ctx) }()
	select {
	case <-i.Crashed():
		return false
	case err := <-done:
		select {
		case <-i.Crashed():
			return false
		default:
			return !fault.IsRetryable(err)
		}
	}
}

// count notes whether what was planned for the invocation has happened.
func (s *Simulation) count(i *Invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.Struck() {
		s.happened["faults: "+string(i.Fault.Kind)]++
	}
	if i.Interrupted() {
		s.happened["interruptions"]++
	}
}

func (s *Simulation) claimer() *claiming.Claimer {
	return claiming.New(s.store, publisher{s.topic}, s.settings, s.Clock.Now)
}

// Triggers returns the number of events that wait for ClaimKeyPackages.
func (s *Simulation) Triggers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.triggers)
}

// Claim hands a waiting event, named by any number, to ClaimKeyPackages. The event is gone if it is acknowledged, unless
// it is to be kept as a duplicate.
func (s *Simulation) Claim(ctx context.Context, pick int, keep bool, i *Invocation) {
	if t, ok := s.trigger(pick); ok {
		s.claimAt(ctx, s.claimer(), t, keep, i)
	}
}

// ClaimTogether hands two waiting events to the same instance of ClaimKeyPackages at the same moment.
func (s *Simulation) ClaimTogether(ctx context.Context, first, second int) {
	instance := s.claimer()
	var both sync.WaitGroup
	for _, pick := range []int{first, second} {
		if t, ok := s.trigger(pick); ok {
			both.Go(func() { s.claimAt(ctx, instance, t, false, new(Invocation)) })
		}
	}
	both.Wait()
}

func (s *Simulation) claimAt(ctx context.Context, instance *claiming.Claimer, t trigger, keep bool, i *Invocation) {
	acknowledged := s.invoke(ctx, i, func(ctx context.Context) error {
		_, err := instance.Claim(ctx, t.doc)
		return err
	})
	if !acknowledged {
		return
	}
	s.calls.await(i) // the answer may be a commit that another made, and that is not noted yet
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.acks = append(s.run.acks, ack{t.doc.ID, len(s.run.commits)})
	if !keep {
		s.triggers = slices.DeleteFunc(s.triggers, func(other trigger) bool { return other.doc.ID == t.doc.ID })
	}
}

func (s *Simulation) trigger(pick int) (trigger, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.triggers) == 0 {
		return trigger{}, false
	}
	return s.triggers[pick%len(s.triggers)], true
}

// Lose drops a waiting event: its trigger is never delivered.
func (s *Simulation) Lose(pick int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.triggers); n > 0 {
		s.triggers = slices.Delete(s.triggers, pick%n, pick%n+1)
	}
}

// Deliver hands a pending message, named by any number, to DeliverKeyPackages. The message is gone if it is acknowledged,
// unless it is to be kept as a duplicate. It reports whether it was acknowledged.
func (s *Simulation) Deliver(ctx context.Context, pick int, keep bool, i *Invocation) bool {
	pending, err := s.topic.Pending(ctx)
	if err != nil || len(pending) == 0 {
		s.failed(err)
		return false
	}
	message := pending[pick%len(pending)]
	acknowledged := s.invoke(ctx, i, func(ctx context.Context) error {
		deliverer := delivering.New(&waiting{Store: s.store, found: s.foundLease(i)}, s.Relay, keypackage.ModeDeliver, s.Clock.Now)
		var err error
		if message.Request.RequestID != "" {
			_, err = deliverer.ForRequest(ctx, message.Request)
		} else {
			_, err = deliverer.ForRequester(ctx, message.Requester)
		}
		return err
	})
	s.failed(s.topic.Settle(ctx, message, acknowledged && !keep))
	return acknowledged
}

// Drop loses a message, as the dead letters do.
func (s *Simulation) Drop(ctx context.Context, pick int) {
	pending, err := s.topic.Pending(ctx)
	if err == nil && len(pending) > 0 {
		err = s.topic.Settle(ctx, pending[pick%len(pending)], true)
	}
	s.failed(err)
}

// Tick calls ExpireDeliveries, and reports whether it came to its end.
func (s *Simulation) Tick(ctx context.Context, i *Invocation) bool {
	return s.invoke(ctx, i, func(ctx context.Context) error {
		settings := expiring.Settings{Mode: keypackage.ModeDeliver, RequestMaxAge: s.settings.RequestMaxAge}
		_, err := expiring.New(s.store, takingUp{s.claimer()}, publisher{s.topic}, publisher{s.topic}, settings, s.Clock.Now).Run(ctx)
		return err
	})
}

// takingUp is the claimer as ExpireDeliveries sees it.
type takingUp struct{ *claiming.Claimer }

// Recover implements expiring.Claimer.
func (t takingUp) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	_, err := t.Claimer.Recover(ctx, doc)
	return err
}

// waiting notices that a deliverer waits for the end of somebody's lease: it reads the same deliveries again and again.
type waiting struct {
	Store
	found func()
	reads int
}

// Deliveries implements delivering.Store.
func (w *waiting) Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) ([]keypackage.StoredDelivery, error) {
	if w.reads++; w.reads > 2 {
		w.found()
	}
	return w.Store.Deliveries(ctx, refs)
}

// BeginPush implements delivering.Store.
func (w *waiting) BeginPush(ctx context.Context, deliveries []*keypackage.Delivery) error {
	w.reads = 0
	return w.Store.BeginPush(ctx, deliveries)
}

// SaveResults implements delivering.Store.
func (w *waiting) SaveResults(ctx context.Context, deliveries []*keypackage.Delivery) error {
	w.reads = 0
	return w.Store.SaveResults(ctx, deliveries)
}

// foundLease makes the time pass for which an invocation waits, or ends the invocation's own.
func (s *Simulation) foundLease(i *Invocation) func() {
	return func() {
		if i.WaitsForLease && !i.isDead() {
			s.Clock.Advance(keypackage.Lease)
			return
		}
		i.Abandon()
	}
}
