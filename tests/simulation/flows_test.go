package simulation

import (
	"context"
	"time"
)

// flow is one thing that the functions do. Its calls are those of one invocation; what leads up to it goes well.
type flow struct {
	name    string
	prepare func(ctx context.Context, s *Simulation)
	invoke  func(ctx context.Context, s *Simulation, i *Invocation)
}

var flows = []flow{
	{"claim", asked(Ask{Owners: []int{0}, Min: 2}), claims},
	{"claim of two owners", asked(Ask{Owners: []int{0, 1}, Min: 1}), claims},
	{"claim of the reserve", asked(Ask{Owners: []int{0}, Min: 9}), claims},
	{"claim that joins", claimed(Ask{Owners: []int{0}, Min: 2}, again), claims},
	{"claim that removes a used copy", claimed(Ask{Owners: []int{0}, Min: 1}, rebroadcast), claims},
	{"claim without stock", asked(Ask{Owners: []int{1}, Suite: "0x0002"}), claims},
	{"rejection", asked(Ask{Owners: []int{0}, Forged: true}), claims},
	{"claim where the session is", asked(Ask{Owners: []int{0}, Min: 2}, entered), claimsHere},
	{"claim where the session is, nobody listening", asked(Ask{Owners: []int{0}, Min: 2}), claimsHere},
	{"trigger after the session's claim", asked(Ask{Owners: []int{0}, Min: 2}, entered, servedHere), claims},
	{"REQ", asked(Ask{Owners: []int{1}}, entered), subscribes},
	{"REQ again", asked(Ask{Owners: []int{1}}, entered, subscribed), subscribes},
	{"claim after a REQ", asked(Ask{Owners: []int{0}}, entered, subscribed), claims},
	{"delivery", claimed(Ask{Owners: []int{0}, Min: 2}, entered), delivers},
	{"delivery for a session", claimed(Ask{Owners: []int{0}, Min: 2}, comeLater), delivers},
	{"delivery to nobody", claimed(Ask{Owners: []int{0}, Min: 2}), delivers},
	{"delivery that is rejected", claimed(Ask{Owners: []int{0}, Min: 2}, behaviour(RejectingPackage)), delivers},
	{"delivery of unknown end", claimed(Ask{Owners: []int{0}, Min: 2}, behaviour(FailingSent)), delivers},
	{"outcome only", claimed(Ask{Owners: []int{0}, Suite: "0x0002"}), delivers},
	{"tick repeats a nudge", claimed(Ask{Owners: []int{0}, Min: 2}, later(40*time.Second)), ticks},
	{"tick recovers a lost request", asked(Ask{Owners: []int{0}, Min: 2}, lost, later(2*time.Minute)), ticks},
	{"tick returns packages", claimed(Ask{Owners: []int{0}, Min: 2}, undelivered, later(7*time.Minute)), ticks},
	{"tick burns packages", claimed(Ask{Owners: []int{0}, Min: 2}, unresolved, later(7*time.Minute)), ticks},
	{"tick retires and removes", claimed(Ask{Owners: []int{0}, Min: 9}, refill, later(30*time.Minute)), ticks},
}

type act func(ctx context.Context, s *Simulation)

// asked prepares a request that waits for its claim.
func asked(ask Ask, more ...act) act {
	return func(ctx context.Context, s *Simulation) {
		s.Publish(ctx, Package{Number: 0}, Package{Number: 1}, Package{Number: 2}, Package{Owner: 1})
		s.Ask(ctx, ask)
		for _, a := range more {
			a(ctx, s)
		}
	}
}

// claimed prepares a request whose packages wait for their delivery.
func claimed(ask Ask, more ...act) act {
	return func(ctx context.Context, s *Simulation) {
		asked(ask)(ctx, s)
		claims(ctx, s, new(Invocation))
		for _, a := range more {
			a(ctx, s)
		}
	}
}

func claims(ctx context.Context, s *Simulation, i *Invocation)     { s.Claim(ctx, 0, false, i) }
func claimsHere(ctx context.Context, s *Simulation, i *Invocation) { s.ClaimHere(ctx, 0, i) }
func subscribes(ctx context.Context, s *Simulation, i *Invocation) { s.Subscribe(ctx, 0, 0, i) }
func delivers(ctx context.Context, s *Simulation, i *Invocation)   { s.Deliver(ctx, 0, false, i) }
func ticks(ctx context.Context, s *Simulation, i *Invocation)      { s.Tick(ctx, i) }

func servedHere(ctx context.Context, s *Simulation) { claimsHere(ctx, s, new(Invocation)) }
func subscribed(ctx context.Context, s *Simulation) { subscribes(ctx, s, new(Invocation)) }
func again(ctx context.Context, s *Simulation)      { s.Ask(ctx, Ask{Owners: []int{0}, Min: 3}) }

func rebroadcast(ctx context.Context, s *Simulation) {
	s.Publish(ctx, Package{Number: 0}, Package{Number: 0, Variant: 1})
	s.Ask(ctx, Ask{Requester: 1, Owners: []int{0}, Min: 1})
}

func entered(ctx context.Context, s *Simulation) { s.Relay.Open(s.Requester(0), true) }

func comeLater(ctx context.Context, s *Simulation) {
	s.Drop(ctx, 0)
	s.Enter(ctx, 0, true)
}

func behaviour(m Behaviour) act {
	return func(ctx context.Context, s *Simulation) {
		entered(ctx, s)
		s.Relay.Behave(m)
	}
}

func later(d time.Duration) act {
	return func(_ context.Context, s *Simulation) { s.Clock.Advance(d) }
}

func lost(_ context.Context, s *Simulation) { s.Lose(0) }

// undelivered has a push that found nobody, so that the packages return.
func undelivered(ctx context.Context, s *Simulation) {
	delivers(ctx, s, new(Invocation))
}

// unresolved has a push whose end nobody knows.
func unresolved(ctx context.Context, s *Simulation) {
	behaviour(FailingSent)(ctx, s)
	undelivered(ctx, s)
	s.Drop(ctx, 0)
	s.Leave(0)
}

// refill gives the owner new packages after the reserve went out, one of which ends soon.
func refill(ctx context.Context, s *Simulation) {
	s.Publish(ctx,
		Package{Number: Rare}, Package{Number: Rare + 1}, Package{Number: ShortLived}, Package{Number: 0, Variant: 2},
		Package{Number: Addressable, Variant: 1})
}
