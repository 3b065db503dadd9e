package main

import (
	"fmt"
	"time"
)

// part returns one part of many journeys.
func part(journeys []journey, of func(journey) time.Duration) sample {
	s := make(sample, len(journeys))
	for i, j := range journeys {
		s[i] = of(j)
	}
	return s
}

func (b *bench) reportPath(measured, floor [][]journey, polled []compared) {
	whole := b.report.table("path", "End to end: from the relay's OK to a 447 until the event is on the requester's websocket", quantiles...)
	whole.note("Floor: the same hops with nothing in them, in turns with the system. The Pub/Sub emulator polls every 100 ms and pushes")
	whole.note("two messages at a time, which is most of both; what is ours stands in the next table.")
	whole.note("Polling: the design this replaces, every second. Its requesters, and those of the system next to it, ask at random moments,")
	whole.note("up to a second after the last answer; the others ask again at once. Limits raised: %v.", raisedLimits)
	share := b.report.table("path", "Own share: end to end without the hops of the trigger and of Pub/Sub", quantiles...)
	share.note("From the event's arrival at the first function until Pub/Sub has the message (its publishTime), and from the push's")
	share.note("arrival at the second function until the frame arrives. Both run as processes of their own; the floor is one process.")
	for i, level := range b.sizes.levels {
		name := func(what string) string { return fmt.Sprintf("%3d in flight, %s", level, what) }
		ours, least := part(measured[i], journey.whole).row(), part(floor[i], journey.whole).row()
		whole.add(name("system"), ours...)
		whole.add(name("floor"), least...)
		whole.add(name("ratio"), over(ours, least)...)
		if i < len(polled) {
			b.reportPolling(whole, name, level, polled[i])
		}
		b.reportShare(share, name, level, measured[i], floor[i])
	}
}

func (b *bench) reportPolling(t *Table, name func(string) string, level int, c compared) {
	ours, old := part(c.system, journey.whole).row(), part(c.polling, journey.whole).row()
	t.add(name("system, at random moments"), ours...)
	t.add(name("  of it Pub/Sub's hop"), part(c.system, journey.message).row()...)
	t.add(name("  without that hop"), part(c.system, journey.withoutMessage).row()...)
	t.add(name("polling design, at random moments"), old...)
	t.add(name("polling / system"), over(old, ours)...)
	if level == 10 {
		b.report.atLeast("polling design / system, end to end, p50, 10 in flight", old[0]/ours[0], 5)
		b.report.atLeast("polling design / system, end to end, p99, 10 in flight", old[2]/ours[2], 10)
	}
}

func (b *bench) reportShare(t *Table, name func(string) string, level int, measured, floor []journey) {
	ours, least := part(measured, journey.share).row(), part(floor, journey.share).row()
	t.add(name("system"), ours...)
	t.add(name("  of it the first function"), part(measured, journey.first).row()...)
	t.add(name("  of it the second, with the relay"), part(measured, journey.second).row()...)
	t.add(name("floor"), least...)
	t.add(name("ratio"), over(ours, least)...)
	t.add(name("(trigger's hop)"), part(measured, journey.trigger).row()...)
	t.add(name("(Pub/Sub's hop)"), part(measured, journey.message).row()...)
	if level <= 10 {
		b.report.atMost(fmt.Sprintf("own share / floor, p50, %d in flight", level), ours[0]/least[0], 2)
		b.report.atMost(fmt.Sprintf("own share / floor, p99, %d in flight", level), ours[2]/least[2], 3)
	}
}

// reportFloor shows the floor hop by hop.
func (b *bench) reportFloor(h *hollow) {
	t := b.report.table("path", "The floor, hop by hop (all levels together)", quantiles...)
	for _, step := range []string{
		"document created", "trigger", "claim's reads and writes", "message published, outcome noted", "message",
		"push's reads and writes", "POST with a frame in it", "frame", "result recorded",
	} {
		t.add(step, h.hops.steps[step].row()...)
	}
}
