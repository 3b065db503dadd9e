package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// design is one way to get a package from a request to the requester.
type design interface {
	// restock empties the database and gives it a stock for so many requests: the emulator's queries look at every document,
	// which Firestore's do not, so what earlier rounds have left would be most of what is measured.
	restock(ctx context.Context, requests int) error
	// request makes one request as that requester and returns when its package has arrived.
	request(ctx context.Context, requester int) (journey, error)
}

// turn is a design and what its requests took.
type turn struct {
	design
	requests int // of each round
	journeys []journey
}

// path measures the way of a request: by the functions, by a gateway that serves it itself, and the least possible for both;
// one at a time, also by the design that polls.
func (b *bench) path(ctx context.Context) (err error) {
	most := b.sizes.levels[len(b.sizes.levels)-1]
	functions, err := b.newSystem(ctx, b.suite, most)
	if err != nil {
		return err
	}
	defer functions.close()
	second, err := b.startGateway(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, second.Stop()) }()
	gateway, err := b.newSystem(ctx, second, most)
	if err != nil {
		return err
	}
	defer gateway.close()
	least, err := b.newBaseline(ctx)
	if err != nil {
		return err
	}
	defer least.close()
	designs := []design{functions, least, gateway, subscribing{gateway}}
	for _, d := range append(designs, untriggered{least}) {
		if _, err := b.fresh(ctx, d, min(10, most), b.sizes.warmup); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	whole, share := b.pathTables()
	return b.atEachDistance(func(distance string) error {
		for i, level := range b.sizes.levels {
			var turns []*turn
			for _, d := range designs {
				turns = append(turns, &turn{design: d, requests: b.sizes.requests[i]})
			}
			if level == 1 {
				turns = append(turns, &turn{design: untriggered{least}, requests: b.sizes.requests[i]},
					&turn{design: polling{least}, requests: b.sizes.polled})
			}
			name := fmt.Sprintf("%s, %d in flight", distance, level)
			if err := b.inTurns(ctx, name, level, turns); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			reportPath(whole, share, name, turns[0].journeys, turns[1].journeys)
			b.reportGateway(whole, name, turns[2:])
		}
		return nil
	})
}

// inTurns measures all designs, so that what else the machine does meets all of them.
func (b *bench) inTurns(ctx context.Context, name string, level int, turns []*turn) error {
	for round := range b.sizes.rounds {
		b.progress("%s, round %d of %d", name, round+1, b.sizes.rounds)
		for _, t := range turns {
			journeys, err := b.fresh(ctx, t.design, level, t.requests)
			if err != nil {
				return err
			}
			t.journeys = append(t.journeys, journeys...)
		}
	}
	return nil
}

// fresh restocks a design and makes n requests.
func (b *bench) fresh(ctx context.Context, d design, requesters, n int) ([]journey, error) {
	if err := b.wire.without(func() error { return d.restock(ctx, n) }); err != nil {
		return nil, err
	}
	settle()
	return run(ctx, d, requesters, n)
}

// patience is how long a request may take before the bench gives up.
const patience = 60 * time.Second

// run makes n requests, always as many at a time as there are requesters.
func run(ctx context.Context, d design, requesters, n int) ([]journey, error) {
	journeys := make([]journey, n)
	var begun atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for requester := range requesters {
		group.Go(func() (err error) {
			for i := begun.Add(1); err == nil && i <= int64(n); i = begun.Add(1) {
				request, cancel := context.WithTimeout(ctx, patience)
				journeys[i-1], err = d.request(request, requester)
				cancel()
			}
			return err
		})
	}
	return journeys, group.Wait()
}

func (b *bench) pathTables() (whole, share *Table) {
	whole = b.report.table("End to end: from the frame of a 447 until the frame of the package", quantiles...)
	whole.note("Least: one process that does what the promises need at least, and nothing else, in turns with the system. The Pub/Sub")
	whole.note("emulator polls every 100 ms and pushes two messages at a time, which is most of both; what is ours stands in the next")
	whole.note("table. The gateway's least is two commits, one read and a frame. Polling is the design that polls every second, asked")
	whole.note("at random moments. Limits raised: %v.", raisedLimits)
	share = b.report.table("Own share: end to end without the hops of the trigger and of Pub/Sub", quantiles...)
	share.note("From the event's arrival at the first function until Pub/Sub has the message (its publishTime), and from the push's")
	share.note("arrival at the second function until the frame arrives.")
	return whole, share
}

func reportPath(whole, share *Table, name string, measured, least []journey) {
	compare(whole, name, part(measured, journey.whole).row(), part(least, journey.whole).row())
	// A nudge, which the opening of a session causes, may overtake the message: then there are no hops to look at.
	measured = slices.DeleteFunc(measured, func(j journey) bool { return j.pushed.IsZero() })
	compare(share, name, part(measured, journey.share).row(), part(least, journey.share).row())
	share.add(name+": first function", part(measured, journey.first).row()...)
	share.add(name+": second function and relay", part(measured, journey.second).row()...)
	share.add(name+": (trigger's hop)", part(measured, journey.trigger).row()...)
	share.add(name+": (Pub/Sub's hop)", part(measured, journey.message).row()...)
}

// reportGateway is given the gateway asked by 447 and by REQ and, if they took part, its least and the design that polls.
func (b *bench) reportGateway(whole *Table, name string, turns []*turn) {
	rows := make([][]float64, len(turns))
	for i, what := range []string{"gateway, 447", "gateway, REQ", "gateway, least", "polling"}[:len(turns)] {
		rows[i] = part(turns[i].journeys, journey.whole).row()
		whole.add(name+": "+what, rows[i]...)
	}
	if len(rows) == 2 {
		return
	}
	b.report.atMost(name+": gateway over two commits, one read and a frame, p50", rows[0][0]/rows[2][0], 2)
	b.report.atLeast(name+": polling over gateway, p50", rows[3][0]/rows[0][0], 15)
	b.report.atLeast(name+": polling over gateway, p99", rows[3][2]/rows[0][2], 10)
}

func compare(t *Table, name string, ours, least []float64) {
	t.add(name+": system", ours...)
	t.add(name+": least", least...)
	t.add(name+": ratio", over(ours, least)...)
}

// part returns one part of many journeys.
func part(journeys []journey, of func(journey) time.Duration) sample {
	s := make(sample, len(journeys))
	for i, j := range journeys {
		s[i] = of(j)
	}
	return s
}
