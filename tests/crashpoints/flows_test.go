package crashpoints

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/tests/simulation"
)

// flow is one thing that the functions do. Its calls are those of one invocation; what leads up to it goes well.
type flow struct {
	name    string
	prepare func(ctx context.Context, s *simulation.Simulation)
	invoke  func(ctx context.Context, s *simulation.Simulation, i *simulation.Invocation)
}

var flows = []flow{
	{"claim", asked(simulation.Ask{Owners: []int{0}, Min: 2}), claim},
	{"claim of two owners", asked(simulation.Ask{Owners: []int{0, 1}, Min: 1}), claim},
	{"claim of the reserve", asked(simulation.Ask{Owners: []int{0}, Min: 9}), claim},
	{"claim that joins", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, again), claim},
	{"claim that removes a used copy", claimed(simulation.Ask{Owners: []int{0}, Min: 1}, rebroadcast), claim},
	{"claim without stock", asked(simulation.Ask{Owners: []int{1}, Suite: "0x0002"}), claim},
	{"rejection", asked(simulation.Ask{Owners: []int{0}, Forged: true}), claim},
	{"claim where the session is", asked(simulation.Ask{Owners: []int{0}, Min: 2}, enter), claimHere},
	{"claim where the session is, nobody listening", asked(simulation.Ask{Owners: []int{0}, Min: 2}), claimHere},
	{"trigger after the session's claim", asked(simulation.Ask{Owners: []int{0}, Min: 2}, enter, servedHere), claim},
	{"REQ", asked(simulation.Ask{Owners: []int{1}}, enter), subscribe},
	{"REQ again", asked(simulation.Ask{Owners: []int{1}}, enter, subscribed), subscribe},
	{"claim after a REQ", asked(simulation.Ask{Owners: []int{0}}, enter, subscribed), claim},
	{"delivery", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, enter), deliver},
	{"delivery for a session", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, comeLater), deliver},
	{"delivery to nobody", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, nil), deliver},
	{"delivery that is rejected", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, behaviour(simulation.RejectingPackage)), deliver},
	{"delivery of unknown end", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, behaviour(simulation.FailingSent)), deliver},
	{"outcome only", claimed(simulation.Ask{Owners: []int{0}, Suite: "0x0002"}, nil), deliver},
	{"tick repeats a nudge", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, later(40*time.Second)), tick},
	{"tick takes up a lost request", asked(simulation.Ask{Owners: []int{0}, Min: 2}, lost, later(2*time.Minute)), tick},
	{"tick returns packages", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, undelivered, later(7*time.Minute)), tick},
	{"tick burns packages", claimed(simulation.Ask{Owners: []int{0}, Min: 2}, unresolved, later(7*time.Minute)), tick},
	{"tick retires and removes", claimed(simulation.Ask{Owners: []int{0}, Min: 9}, refill, later(30*time.Minute)), tick},
}

type act func(ctx context.Context, s *simulation.Simulation)

// asked prepares a request that waits for its claim.
func asked(ask simulation.Ask, more ...act) act {
	return func(ctx context.Context, s *simulation.Simulation) {
		s.Publish(ctx, []simulation.Package{{Owner: 0, Number: 0}, {Owner: 0, Number: 1}, {Owner: 0, Number: 2}, {Owner: 1, Number: 0}}...)
		s.Ask(ctx, ask)
		for _, a := range more {
			a(ctx, s)
		}
	}
}

// claimed prepares a request whose packages wait for their delivery.
func claimed(ask simulation.Ask, more ...act) act {
	return func(ctx context.Context, s *simulation.Simulation) {
		asked(ask)(ctx, s)
		claim(ctx, s, new(simulation.Invocation))
		for _, a := range more {
			if a != nil {
				a(ctx, s)
			}
		}
	}
}

func claim(ctx context.Context, s *simulation.Simulation, i *simulation.Invocation) {
	s.Claim(ctx, 0, false, i)
}
func deliver(ctx context.Context, s *simulation.Simulation, i *simulation.Invocation) {
	s.Deliver(ctx, 0, false, i)
}
func tick(ctx context.Context, s *simulation.Simulation, i *simulation.Invocation) { s.Tick(ctx, i) }

func claimHere(ctx context.Context, s *simulation.Simulation, i *simulation.Invocation) {
	s.ClaimHere(ctx, 0, i)
}

func subscribe(ctx context.Context, s *simulation.Simulation, i *simulation.Invocation) {
	s.Subscribe(ctx, 0, 0, i)
}

func servedHere(ctx context.Context, s *simulation.Simulation) {
	claimHere(ctx, s, new(simulation.Invocation))
}

func subscribed(ctx context.Context, s *simulation.Simulation) {
	subscribe(ctx, s, new(simulation.Invocation))
}

func again(ctx context.Context, s *simulation.Simulation) {
	s.Ask(ctx, simulation.Ask{Owners: []int{0}, Min: 3})
}

func rebroadcast(ctx context.Context, s *simulation.Simulation) {
	s.Publish(ctx, simulation.Package{Number: 0}, simulation.Package{Number: 0, Variant: 1})
	s.Ask(ctx, simulation.Ask{Requester: 1, Owners: []int{0}, Min: 1})
}

func enter(ctx context.Context, s *simulation.Simulation) { s.Relay.Open(s.Requester(0), true) }

func comeLater(ctx context.Context, s *simulation.Simulation) {
	s.Drop(ctx, 0)
	s.Enter(ctx, 0, true)
}

func behaviour(m simulation.Behaviour) act {
	return func(ctx context.Context, s *simulation.Simulation) {
		enter(ctx, s)
		s.Relay.Behave(m)
	}
}

func later(d time.Duration) act {
	return func(_ context.Context, s *simulation.Simulation) { s.Clock.Advance(d) }
}

func lost(_ context.Context, s *simulation.Simulation) { s.Lose(0) }

// undelivered has a push that found nobody, so that the packages return.
func undelivered(ctx context.Context, s *simulation.Simulation) {
	deliver(ctx, s, new(simulation.Invocation))
}

// unresolved has a push whose end nobody knows.
func unresolved(ctx context.Context, s *simulation.Simulation) {
	behaviour(simulation.FailingSent)(ctx, s)
	undelivered(ctx, s)
	s.Drop(ctx, 0)
	s.Leave(0)
}

// refill gives the owner new packages after the reserve went out, one of which ends soon.
func refill(ctx context.Context, s *simulation.Simulation) {
	s.Publish(ctx, []simulation.Package{{Number: 4}, {Number: 5}, {Number: 3}, {Number: 0, Variant: 2}, {Number: 7, Variant: 1}}...)
}
