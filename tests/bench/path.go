package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// design is one way to get a package from a request's document to the requester.
type design interface {
	// restock empties the database and gives it a stock for so many requests: the emulator's queries look at every document,
	// which Firestore's do not, so what earlier rounds have left would be most of what is measured.
	restock(ctx context.Context, requests int) error
	// request makes one request as that requester and returns when its package has arrived.
	request(ctx context.Context, requester int) (journey, error)
}

// path measures the way of a request: the system, the same hops with nothing in them, and the design that polls.
func (b *bench) path(ctx context.Context) error {
	most := b.sizes.levels[len(b.sizes.levels)-1]
	system, err := b.newSystem(ctx, most)
	if err != nil {
		return err
	}
	defer system.close()
	hollow, err := b.newHollow(ctx, most)
	if err != nil {
		return err
	}
	defer hollow.close()
	for _, d := range []design{system, hollow} {
		if _, err := fresh(ctx, d, min(10, most), b.sizes.warmup); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	calls := b.calls.Load()
	measured, floor := make([][]journey, len(b.sizes.levels)), make([][]journey, len(b.sizes.levels))
	for i, level := range b.sizes.levels {
		for round := range b.sizes.rounds {
			b.progress("%d in flight, round %d", level, round+1)
			for d, into := range map[design]*[]journey{system: &measured[i], hollow: &floor[i]} {
				journeys, err := fresh(ctx, d, level, b.sizes.requests[i])
				if err != nil {
					return fmt.Errorf("%d in flight: %w", level, err)
				}
				*into = append(*into, journeys...)
			}
		}
	}
	b.invocations = float64(b.calls.Load()-calls) / float64(count(measured))
	polled, err := b.polled(ctx, system)
	if err != nil {
		return err
	}
	b.reportPath(measured, floor, polled)
	b.reportFloor(hollow)
	return nil
}

// fresh restocks a design and makes n requests.
func fresh(ctx context.Context, d design, requesters, n int) ([]journey, error) {
	if err := d.restock(ctx, n); err != nil {
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

func count(levels [][]journey) (n int) {
	for _, journeys := range levels {
		n += len(journeys)
	}
	return n
}
