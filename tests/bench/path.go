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
	name string
	design
	requests int // of each round
	journeys []journey
}

// path measures the way of a request: by the functions, by a gateway that serves it itself, asked by 447 and by REQ, the least
// possible, and the design that polls.
func (b *bench) path(ctx context.Context) (err error) {
	most := slices.MaxFunc(b.sizes.paths, func(a, b pathSize) int { return a.inFlight - b.inFlight }).inFlight
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
	least, err := newLeast(ctx, most)
	if err != nil {
		return err
	}
	defer least.close(ctx)
	for _, d := range []design{functions, gateway, subscribing{gateway}, least} {
		if _, err := b.fresh(ctx, d, min(10, most), b.sizes.warmup); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	r := b.newPathReport()
	defer b.wire.set(0)
	for _, size := range b.sizes.paths {
		b.wire.set(size.rtt)
		turns := []*turn{
			{name: "functions", design: functions, requests: size.functions}, {name: "gateway, 447", design: gateway, requests: size.others},
			{name: "gateway, REQ", design: subscribing{gateway}, requests: size.others}, {name: "gateway, least", design: least, requests: size.others},
		}
		if size.polled > 0 {
			turns = append(turns, &turn{name: "polling", design: polling{least}, requests: size.polled})
		}
		name := fmt.Sprintf("RTT %v, %d in flight", size.rtt, size.inFlight)
		if err := b.inTurns(ctx, name, size, turns); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if size.inFlight == 1 || r.alone == nil {
			r.alone = turns[3].journeys
		}
		r.add(name, turns)
	}
	return nil
}

// inTurns measures all designs, so that what else the machine does meets all of them.
func (b *bench) inTurns(ctx context.Context, name string, size pathSize, turns []*turn) error {
	for round := range size.rounds {
		for _, t := range turns {
			progress("%s, round %d of %d: %s", name, round+1, size.rounds, t.name)
			journeys, err := b.fresh(ctx, t.design, size.inFlight, t.requests)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
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
	return ask(ctx, d, requesters, n)
}

// patience is how long a request may take before the bench gives up.
const patience = 60 * time.Second

// ask makes n requests, always as many at a time as there are requesters.
func ask(ctx context.Context, d design, requesters, n int) ([]journey, error) {
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

// pathReport is the tables and the picture of this section.
type pathReport struct {
	*Report
	whole, share *table
	picture      *picture
	alone        []journey // of the least, one at a time: many at once would wait for each other as the functions' do not
}

func (b *bench) newPathReport() pathReport {
	r := pathReport{Report: b.Report}
	r.whole = b.table("End to end: from the frame of a 447 until the frame of the package", quantiles...)
	r.whole.note("Least: one process that does what the promises need, and nothing else, in turns with the system: two commits, one query and")
	r.whole.note("a frame. For the functions the hops that they have in common with every such design come on top, as they were measured: the")
	r.whole.note("trigger's, with the storing of the request, and Pub/Sub's, whose emulator polls every 100 ms and pushes two messages at a time.")
	r.whole.note("Polling is the design that polls every second, asked at random moments. Limits raised: %v.", raisedLimits)
	r.share = b.table("The functions' own share: end to end without these hops", quantiles...)
	r.share.note("From the event's arrival at the first function until Pub/Sub has the message (its publishTime), and from the push's")
	r.share.note("arrival at the second function until the frame arrives. Least: one at a time, from the request's being stored.")
	r.picture = b.picture("path", "From the request's frame to the package's frame, median", "milliseconds")
	return r
}

// add reports turns in the order in which path makes them. What is judged is judged where the design that polls took part.
func (r pathReport) add(name string, turns []*turn) {
	// A nudge, which the opening of a session causes, may overtake the message: then there are no hops to look at.
	stamped := slices.DeleteFunc(slices.Clone(turns[0].journeys), func(j journey) bool { return j.pushed.IsZero() })
	floor := part(stamped, journey.hops)
	for i := range floor {
		floor[i] += r.alone[i%len(r.alone)].share()
	}
	rows := make([][]float64, len(turns))
	for i, t := range turns {
		rows[i] = part(t.journeys, journey.whole).row()
		r.whole.add(name+": "+t.name, rows[i]...)
		r.picture.set(name, t.name, rows[i][0])
		if i == 0 {
			r.whole.add(name+": functions, least", floor.row()...)
			r.picture.set(name, "functions, least", floor.quantile(0.5))
		}
	}
	r.whole.add(name+": functions over their least", over(rows[0], floor.row())...)
	r.whole.add(name+": gateway over its least", over(rows[1], rows[3])...)
	ours, theirs := part(stamped, journey.share).row(), part(r.alone, journey.share).row()
	r.share.add(name+": functions", ours...)
	r.share.add(name+": least", theirs...)
	r.share.add(name+": ratio", over(ours, theirs)...)
	r.share.add(name+": (hops)", part(stamped, journey.hops).row()...)
	if len(turns) == 5 {
		r.atMost(name+": gateway over two commits, one query and a frame, p50", rows[1][0]/rows[3][0], 2)
		r.atLeast(name+": polling over gateway, p50", rows[4][0]/rows[1][0], 15)
		r.atLeast(name+": polling over gateway, p99", rows[4][2]/rows[1][2], 10)
	}
}

// part returns one part of many journeys.
func part(journeys []journey, of func(journey) time.Duration) sample {
	s := make(sample, len(journeys))
	for i, j := range journeys {
		s[i] = of(j)
	}
	return s
}
