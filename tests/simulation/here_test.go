package simulation

import (
	"context"
	"errors"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Subscribe is a requester's REQ for a package of an owner, served where the session is: claimed, and pushed if it was the
// claim that began to.
func (s *Simulation) Subscribe(ctx context.Context, requester, owner int, i *Invocation) {
	s.invoke(ctx, i, func(ctx context.Context) error {
		granted, _, err := s.claimer().ClaimForREQ(ctx, s.Requester(requester), s.population.Owners[owner].Pubkey, false)
		if err != nil {
			return err
		}
		return s.pushHere(ctx, granted)
	})
}

// ClaimHere serves a request whose event waits, named by any number, where the requester's session is: claimed, pushed, told,
// noted. The event waits on.
func (s *Simulation) ClaimHere(ctx context.Context, pick int, i *Invocation) {
	t, ok := s.trigger(pick)
	if !ok {
		return
	}
	s.invoke(ctx, i, func(ctx context.Context) error {
		claimer := s.claimer()
		var failures []error
		var mu sync.Mutex
		answer, _, err := claimer.ClaimHere(ctx, t.doc, isStored, func(g claiming.Granted) {
			err := s.pushHere(ctx, g)
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, err)
		})
		if err = errors.Join(append(failures, err)...); err == nil {
			err = claimer.Told(ctx, t.doc, answer)
		}
		return err
	})
}

func (s *Simulation) pushHere(ctx context.Context, granted claiming.Granted) error {
	if len(granted.Begun) == 0 {
		return nil
	}
	local := delivering.NewLocal(s.store, s.Relay, keypackage.ModeDeliver, s.Clock.Now)
	_, err := local.Begun(ctx, granted.Holder, granted.Answer, granted.Begun)
	return err
}

func isStored() error { return nil }
