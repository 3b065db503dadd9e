package simulation

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// history is what happens, one step after another, before everything comes to its end.
type history struct {
	Tight     bool // small limits
	Everybody bool // in the end all requesters come and listen
	Stock     []Package
	Steps     []step
}

// step is one thing that happens. Pick and Other name whom or what it concerns, by any number.
type step struct {
	Do            action
	Pick, Other   int
	Packages      []Package
	Ask           Ask // made first if there is no event to claim for
	Wait          time.Duration
	Keep          bool // the event or message comes again, although it is acknowledged
	WaitsForLease bool // waits for the end of somebody else's push
	Behaviour     Behaviour
	Fault         Kind // "" or what strikes the call At
	At            Point
	Amid          *step // what happens right before the call AmidAt, in the middle of this step
	AmidAt        Point
}

// action is the kind of a step.
type action string

const (
	publish  action = "publish" // also again, also in another encoding, also after it was used
	remove   action = "delete"
	ask      action = "ask"
	claim    action = "claim"
	together action = "claim together" // two events at the same instance at once
	lose     action = "lose a trigger"
	deliver  action = "deliver"
	drop     action = "drop a message"
	tick     action = "tick"
	enter    action = "enter" // a session that listens, and the relay's nudge
	idle     action = "enter without listening"
	leave    action = "leave"
	wait     action = "wait"
)

// usual are the actions by how often they come, and amidst those that can happen in the middle of others.
var (
	usual = []action{
		claim, claim, claim, claim, claim, deliver, deliver, deliver, deliver, publish, publish, publish, tick, tick, wait, wait,
		wait, enter, enter, ask, ask, leave, idle, remove, remove, together, lose, drop,
	}
	amidst = []action{claim, claim, deliver, deliver, tick, remove, remove, publish, wait, wait, enter, leave}
)

// fragile are the calls at which something can go wrong, and interruptible those before which something can happen.
var (
	fragile = map[action][]string{
		claim: {
			"Commit claims", "Publish", "Commit requests", "BatchGetDocuments in transaction",
			"BatchGetDocuments owners", "RunQuery keypackages", "BatchGetDocuments ledger", "BatchGetDocuments deliveries",
		},
		deliver: {
			"Commit deliveries", "Push", "BatchGetDocuments deliveries", "RunQuery claims",
			"BatchGetDocuments in transaction", "RunQuery deliveries",
		},
		tick: {
			"Commit deliveries", "Publish", "Commit claims", "Commit ledger", "Commit keypackages",
			"RunQuery deliveries", "RunQuery requests", "RunQuery ledger", "BatchGetDocuments in transaction",
			"BatchGetDocuments claims", "BatchGetDocuments ledger",
		},
	}
	interruptible = map[action][]string{
		claim: {
			"BatchGetDocuments in transaction", "BatchGetDocuments in transaction", "BatchGetDocuments ledger", "Publish",
			"Commit requests", "Commit claims", "Commit claims",
		},
		deliver: {
			"BatchGetDocuments in transaction", "BatchGetDocuments in transaction", "Push", "BatchGetDocuments deliveries",
			"Commit deliveries",
		},
		tick: {
			"BatchGetDocuments in transaction", "BatchGetDocuments in transaction", "Publish", "BatchGetDocuments tombstones",
			"BatchGetDocuments ledger",
		},
	}
	ordinals = []int{0, 0, 0, 1, 1, 2}
)

var waits = []time.Duration{
	time.Second, 16 * time.Second, 31 * time.Second, 2 * time.Minute, 4*time.Minute + 50*time.Second, 6 * time.Minute,
	16 * time.Minute, 61 * time.Minute,
}

// histories generates histories. They have four parts of five steps on the average.
var histories = rapid.Custom(func(t *rapid.T) history {
	h := history{
		Tight:     rapid.IntRange(0, 4).Draw(t, "tight") == 4,
		Everybody: rapid.Bool().Draw(t, "everybody"),
		Stock:     rapid.SliceOfN(packages, 0, 10).Draw(t, "stock"),
	}
	for range 4 {
		h.Steps = append(h.Steps, rapid.SliceOfN(steps(usual, 1), 0, 20).Draw(t, "steps")...)
	}
	return h
})

// steps generates steps with others in the middle of them, up to that depth.
func steps(actions []action, depth int) *rapid.Generator[step] {
	return rapid.Custom(func(t *rapid.T) step {
		s := step{Do: rapid.SampledFrom(actions).Draw(t, "do")}
		switch s.Do {
		case publish:
			s.Packages = rapid.SliceOfN(packages, 1, 4).Draw(t, "packages")
		case ask, claim:
			s.Ask = asks.Draw(t, "ask")
		case wait:
			s.Wait = rapid.SampledFrom(waits).Draw(t, "wait")
		case together:
			s.Other = rapid.IntRange(0, 3).Draw(t, "other")
		}
		switch s.Do {
		case publish, ask, wait, tick:
		default:
			s.Pick = rapid.IntRange(0, 7).Draw(t, "pick")
		}
		switch s.Do {
		case claim, deliver, tick:
			disturb(t, &s, depth)
		}
		return s
	})
}

// disturb draws what happens to an invocation. Most go well.
func disturb(t *rapid.T, s *step, depth int) {
	s.Keep = rapid.IntRange(0, 5).Draw(t, "keep") == 5
	if s.Do == deliver {
		s.WaitsForLease = rapid.Bool().Draw(t, "waits for lease")
		s.Behaviour = Honest
		if rapid.IntRange(0, 2).Draw(t, "misbehaves") == 2 {
			s.Behaviour = rapid.SampledFrom(Behaviours).Draw(t, "behaviour")
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "faulty") == 3 {
		s.Fault = rapid.SampledFrom(Kinds).Draw(t, "fault")
		s.At = Point{Name: rapid.SampledFrom(fragile[s.Do]).Draw(t, "at"), N: rapid.SampledFrom(ordinals).Draw(t, "n")}
	}
	if depth > 0 && rapid.IntRange(0, 2).Draw(t, "interrupted") == 2 {
		other := steps(amidst, depth-1).Draw(t, "amid")
		s.Amid = &other
		s.AmidAt = Point{
			Name: rapid.SampledFrom(interruptible[s.Do]).Draw(t, "amid at"), N: rapid.SampledFrom(ordinals).Draw(t, "n"),
		}
	}
}

// packages prefers few of them, so that used ones come again.
var packages = rapid.Custom(func(t *rapid.T) Package {
	p := Package{Number: rapid.IntRange(0, Packages-1).Draw(t, "number")}
	if rapid.IntRange(0, 3).Draw(t, "another owner") == 3 {
		p.Owner = 1
	}
	if rapid.IntRange(0, 2).Draw(t, "another variant") == 2 {
		p.Variant = rapid.IntRange(0, Variants-1).Draw(t, "variant")
	}
	return p
})

var asks = rapid.Custom(func(t *rapid.T) Ask {
	return Ask{
		Requester: rapid.IntRange(0, Requesters-1).Draw(t, "requester"),
		Owners:    rapid.SampledFrom([][]int{{0}, {0}, {1}, {0, 1}}).Draw(t, "owners"),
		Min:       rapid.SampledFrom([]int{0, 0, 2, 3, 9}).Draw(t, "min"),
		Suite:     rapid.SampledFrom([]string{"", "", "", "0x0001", "0x0003", "nonsense"}).Draw(t, "suite"),
		Group:     rapid.SampledFrom([]string{"", "", "group"}).Draw(t, "group"),
		TTL:       rapid.SampledFrom([]int{0, 0, 0, 60}).Draw(t, "ttl"),
		Forged:    rapid.IntRange(0, 19).Draw(t, "forged") == 19,
	}
})

// GoString is how rapid prints a failing history.
func (h history) GoString() string {
	var text strings.Builder
	fmt.Fprintf(&text, "tight %v, everybody comes in the end %v, stock %+v\n", h.Tight, h.Everybody, h.Stock)
	for i, s := range h.Steps {
		fmt.Fprintf(&text, "  %2d. %s\n", i+1, s)
	}
	return text.String()
}

func (s step) String() string {
	text := string(s.Do)
	switch s.Do {
	case publish:
		text += fmt.Sprintf(" %+v", s.Packages)
	case ask:
		text += fmt.Sprintf(" %+v", s.Ask)
	case claim:
		text += fmt.Sprintf(" %d, or ask %+v first", s.Pick, s.Ask)
	case wait:
		text += " " + s.Wait.String()
	case together:
		text += fmt.Sprint(" ", s.Pick, " and ", s.Other)
	case tick:
	default:
		text += fmt.Sprint(" ", s.Pick)
	}
	if s.Keep {
		text += ", again later"
	}
	if s.WaitsForLease {
		text += ", waits for leases"
	}
	if s.Behaviour != "" && s.Behaviour != Honest {
		text += ", relay answers " + string(s.Behaviour)
	}
	if s.Fault != "" {
		text += fmt.Sprintf(", %s at %s", s.Fault, s.At)
	}
	if s.Amid != nil {
		text += fmt.Sprintf(", and before %s: [%s]", s.AmidAt, s.Amid)
	}
	return text
}
