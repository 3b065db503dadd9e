package main

import (
	"context"
	"fmt"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

// deck is what crashes, in shuffled order and then again. The functions and the gateway do it more often than what they talk to.
var deck = []string{
	suite.Claim, suite.Claim, suite.Deliver, suite.Deliver, suite.Deliver, suite.Expire, suite.Gateway, suite.Gateway, suite.PubSub,
}

// crash kills and restarts processes until ctx ends. A restart that was begun is finished.
func (s *soak) crash(ctx context.Context) error {
	dice := newDice(s.Seed, "crash", 0)
	for {
		for _, i := range dice.Perm(len(deck)) {
			if !dice.pause(ctx, s.CrashEvery) {
				return nil
			}
			if err := s.crashOne(context.WithoutCancel(ctx), deck[i]); err != nil {
				return fmt.Errorf("restart of %s: %w", deck[i], err)
			}
		}
	}
}

func (s *soak) crashOne(ctx context.Context, name string) error {
	s.history.fault(name + " killed")
	if name == suite.Gateway {
		s.history.relayDied(time.Now())
	}
	return s.Restart(ctx, name)
}
