package simulation

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// players is how many histories play at once.
const players = 4

func TestHistories(t *testing.T) {
	t.Parallel()
	backends, tally := NewBackends(t, players), new(Tally)
	t.Cleanup(func() { t.Logf("\n%s", tally) })
	for n := range players {
		t.Run(fmt.Sprint("player ", n+1), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				h := histories.Draw(t, "history")
				if broken := play(h, backends, Options{Tally: tally}); broken != "" {
					t.Fatal(broken)
				}
			})
		})
	}
}

// play plays a history and returns what went wrong.
func play(h history, backends *Backends, options Options) string {
	ctx := context.Background()
	options.Tight = h.Tight
	s, err := New(backends, options)
	if err != nil {
		return err.Error()
	}
	s.Publish(ctx, h.Stock...)
	for _, step := range h.Steps {
		step.play(ctx, s)
	}
	s.Settle(ctx, h.Everybody)
	broken, err := s.Check(ctx)
	if err != nil {
		broken = append(broken, err.Error())
	}
	if err := s.Close(); err != nil {
		broken = append(broken, err.Error())
	}
	return strings.Join(broken, "\n")
}

func (s step) play(ctx context.Context, on *Simulation) {
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
		on.Enter(ctx, s.Pick%Requesters, s.Do == enter)
	case leave:
		on.Leave(s.Pick % Requesters)
	case wait:
		on.Clock.Advance(s.Wait)
	}
}

func (s step) invocation(ctx context.Context, on *Simulation) *Invocation {
	i := &Invocation{WaitsForLease: s.WaitsForLease}
	i.Fault.Kind, i.Fault.At = s.Fault, s.At
	if s.Amid != nil {
		i.Amid.At, i.Amid.Do = s.AmidAt, func() { s.Amid.play(ctx, on) }
	}
	return i
}

var pushed = flag.Int("pushed", 8, "number of histories whose messages go through real pushes of the Pub/Sub emulator")

// TestPushedHistories plays histories whose messages the Pub/Sub emulator keeps, pushes and brings again. How its pushes
// interleave is up to the emulator, so a seed makes a similar history, not the same one.
func TestPushedHistories(t *testing.T) {
	t.Parallel()
	backends, broker, tally := NewBackends(t, players), NewBroker(t), new(Tally)
	t.Cleanup(func() { t.Logf("\n%s", tally) })
	for player := range players {
		t.Run(fmt.Sprint("player ", player+1), func(t *testing.T) {
			t.Parallel()
			for seed := player; seed < *pushed; seed += players {
				h := histories.Example(seed)
				if broken := playPushed(h, backends, broker, tally); broken != "" {
					t.Fatalf("seed %d: %s\n%#v", seed, broken, h)
				}
			}
		})
	}
}

func playPushed(h history, backends *Backends, broker *Broker, tally *Tally) string {
	messages, err := broker.NewPushed(context.Background())
	if err != nil {
		return err.Error()
	}
	broken := play(h, backends, Options{Topic: messages, Tally: tally})
	if err := messages.Close(); err != nil && broken == "" {
		return err.Error()
	}
	return broken
}
