package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// design is one way to get a package from a request to the requester.
type design interface {
	// restock empties the database and gives it a stock for so many requests: the emulator's queries look at every document,
	// which Firestore's do not, so what earlier rounds have left would be most of what is measured.
	restock(ctx context.Context, requests int) error
	// request makes one request as that requester and returns when its package has arrived.
	request(ctx context.Context, requester int) (journey, error)
}

// path measures the way of a request: the system, and the least possible.
func (b *bench) path(ctx context.Context) error {
	most := b.sizes.levels[len(b.sizes.levels)-1]
	system, err := b.newSystem(ctx, most)
	if err != nil {
		return err
	}
	defer system.close()
	baseline, err := b.newBaseline(ctx, most)
	if err != nil {
		return err
	}
	defer baseline.close()
	for _, d := range []design{system, baseline} {
		if _, err := b.fresh(ctx, d, min(10, most), b.sizes.warmup); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	whole, share := b.pathTables()
	return b.atEachDistance(func(distance string) error {
		for i, level := range b.sizes.levels {
			ours, least, err := b.inTurns(ctx, system, baseline, level, b.sizes.requests[i])
			if err != nil {
				return fmt.Errorf("%s, %d in flight: %w", distance, level, err)
			}
			reportPath(whole, share, fmt.Sprintf("%s, %d in flight", distance, level), ours, least)
		}
		return nil
	})
}

// inTurns measures both designs, so that what else the machine does meets both.
func (b *bench) inTurns(ctx context.Context, system, baseline design, level, n int) (ours, least []journey, err error) {
	for round := range b.sizes.rounds {
		b.progress("%d in flight, round %d of %d", level, round+1, b.sizes.rounds)
		for _, turn := range []struct {
			design
			into *[]journey
		}{{system, &ours}, {baseline, &least}} {
			journeys, err := b.fresh(ctx, turn.design, level, n)
			if err != nil {
				return nil, nil, err
			}
			*turn.into = append(*turn.into, journeys...)
		}
	}
	return ours, least, nil
}

// fresh restocks a design and makes n requests.
func (b *bench) fresh(ctx context.Context, d design, requesters, n int) ([]journey, error) {
	if err := b.wire.without(func() error { return d.restock(ctx, n) }); err != nil {
		return nil, err
	}
	settle()
	return run(ctx, d, requesters, n)
}

// run makes n requests, always as many at a time as there are requesters.
func run(ctx context.Context, d design, requesters, n int) ([]journey, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var journeys []journey
	var begun atomic.Int64
	var workers sync.WaitGroup
	for requester := range requesters {
		workers.Go(func() {
			for ctx.Err() == nil && begun.Add(1) <= int64(n) {
				j, err := d.request(ctx, requester)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				journeys = append(journeys, j)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return journeys, context.Cause(ctx)
}

func (b *bench) pathTables() (whole, share *Table) {
	whole = b.report.table("path", "End to end: from the frame of a 447 until the frame of the package", quantiles...)
	whole.note("Least: one process that does what the promises need at least, and nothing else, in turns with the system. The Pub/Sub")
	whole.note("emulator polls every 100 ms and pushes two messages at a time, which is most of both; what is ours stands in the next")
	whole.note("table. Limits raised: %v.", raisedLimits)
	share = b.report.table("path", "Own share: end to end without the hops of the trigger and of Pub/Sub", quantiles...)
	share.note("From the event's arrival at the first function until Pub/Sub has the message (its publishTime), and from the push's")
	share.note("arrival at the second function until the frame arrives.")
	return whole, share
}

func reportPath(whole, share *Table, name string, measured, least []journey) {
	compare(whole, name, part(measured, journey.whole).row(), part(least, journey.whole).row())
	compare(share, name, part(measured, journey.share).row(), part(least, journey.share).row())
	share.add(name+": first function", part(measured, journey.first).row()...)
	share.add(name+": second function and relay", part(measured, journey.second).row()...)
	share.add(name+": (trigger's hop)", part(measured, journey.trigger).row()...)
	share.add(name+": (Pub/Sub's hop)", part(measured, journey.message).row()...)
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
