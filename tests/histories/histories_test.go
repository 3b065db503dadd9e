// Package histories plays random histories on the real use cases and the real Firestore emulator, and checks the promises
// on what each leaves behind: uploads, re-broadcasts and other encodings of used packages, deletions, requests of every
// kind, sessions that come and go, every answer of the relay, lost and repeated events and messages, steps of the clock,
// instances that interrupt each other, and every fault of package faults.
//
// Messages are simulated, for speed, but for some histories, whose messages go through real pushes of the Pub/Sub emulator.
// A failure prints its seed, and with simulated messages the shortest history that fails.
//
//	go test ./tests/histories                              # 120 histories and 8 with pushes, as part of go test ./...
//	go test ./tests/histories -run Pushed -v -pushed 200   # 200 histories with pushes
//	go test ./tests/histories -run Mutants -v -shortest    # the mutants, and the shortest history that finds each
//	for i in $(seq 10); do                                 # 10,000 histories
//	    go test ./tests/histories -run Histories -v -count=1 -parallel 4 -rapid.checks=250 -timeout 1h || break
//	done
//
// A round has no more than 1000 histories, because the emulator keeps what is deleted: more would fill its memory. With
// FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST naming emulators that are warm and have 6 GB, one round of 10,000
// (-rapid.checks=2500) is twice as fast.
package histories

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/tests/simulation"
)

// players is how many histories play at once.
const players = 4

func TestHistories(t *testing.T) {
	t.Parallel()
	backends, tally := simulation.NewBackends(t, players), new(simulation.Tally)
	t.Cleanup(func() { t.Logf("\n%s", tally) })
	for n := range players {
		t.Run(fmt.Sprint("player ", n+1), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				h := histories.Draw(t, "history")
				if broken := play(h, backends, simulation.Options{Tally: tally}); broken != "" {
					t.Fatal(broken)
				}
			})
		})
	}
}

// play plays a history and returns what went wrong.
func play(h history, backends *simulation.Backends, options simulation.Options) string {
	ctx := context.Background()
	options.Tight = h.Tight
	s, err := simulation.New(backends, options)
	if err != nil {
		return err.Error()
	}
	s.Publish(ctx, h.Stock...)
	for _, step := range h.Steps {
		step.play(ctx, s)
	}
	s.Settle(ctx, h.Everybody)
	violations, err := s.Check(ctx)
	var broken []string
	if err != nil {
		broken = append(broken, err.Error())
	}
	for _, v := range violations {
		broken = append(broken, v.String())
	}
	if err := s.Close(); err != nil {
		broken = append(broken, err.Error())
	}
	return strings.Join(broken, "\n")
}

func (s step) play(ctx context.Context, on *simulation.Simulation) {
	switch s.Do {
	case publish:
		on.Publish(ctx, s.Packages...)
	case remove:
		on.Delete(ctx, s.Pick)
	case ask:
		on.Ask(ctx, s.Ask)
	case claim:
		if on.Triggers() == 0 {
			on.Ask(ctx, s.Ask)
		}
		on.Claim(ctx, s.Pick, s.Keep, s.invocation(ctx, on))
	case together:
		on.ClaimTogether(ctx, s.Pick, s.Other)
	case lose:
		on.Lose(s.Pick)
	case deliver:
		on.Relay.Behave(s.Behaviour)
		on.Deliver(ctx, s.Pick, s.Keep, s.invocation(ctx, on))
	case drop:
		on.Drop(ctx, s.Pick)
	case tick:
		on.Tick(ctx, s.invocation(ctx, on))
	case enter, idle:
		on.Enter(ctx, s.Pick%simulation.Requesters, s.Do == enter)
	case leave:
		on.Leave(s.Pick % simulation.Requesters)
	case wait:
		on.Clock.Advance(s.Wait)
	}
}

func (s step) invocation(ctx context.Context, on *simulation.Simulation) *simulation.Invocation {
	i := &simulation.Invocation{WaitsForLease: s.WaitsForLease}
	i.Fault.Kind, i.Fault.At = s.Fault, s.At
	if s.Amid != nil {
		i.Amid.At, i.Amid.Do = s.AmidAt, func() { s.Amid.play(ctx, on) }
	}
	return i
}
