package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// design is one way to get a package from a request to the requester.
type design interface {
	// restock empties the database and gives it a stock for so many requests: the emulator's queries look at every document,
	// which Firestore's do not, so what earlier rounds have left would be most of what is measured.
	restock(ctx context.Context, requests int) error
	// request makes one request as that requester and returns how long its package took to arrive.
	request(ctx context.Context, requester int) (time.Duration, error)
}

// designs are what path measures.
var designs = [5]string{"functions", "gateway, 447", "gateway, REQ", "least", "polling"}

const viaFunctions, viaGateway, theLeast, byPolling = 0, 1, 3, 4

// path measures the way of a request: by the functions, by a gateway that serves it itself, asked by 447 and by REQ, the least
// possible, and the design that polls.
func (b *bench) path(ctx context.Context) error {
	most := slices.MaxFunc(b.sizes.paths, func(a, b pathSize) int { return a.inFlight - b.inFlight }).inFlight
	var systems []*system
	for _, servedBy := range []config.ServedBy{config.ServedByFunctions, config.ServedByGateway} {
		s, err := b.newSystem(ctx, servedBy, most)
		if err != nil {
			return err
		}
		defer s.close()
		systems = append(systems, s)
	}
	db, err := b.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.drop(ctx)
	owners, gateway := &stocked{db: db}, systems[1]
	all := []design{systems[0], gateway, subscribing{gateway}, least{owners, false}, least{owners, true}}
	for _, d := range all[:byPolling] {
		if _, err := b.ask(ctx, d, min(10, most), b.sizes.warmup); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	t := b.table("End to end: from the frame of a request until the frame of the package", quantiles...)
	t.note("Least: one process that does what the promises need, and nothing else: two commits and one query. The functions have")
	t.note("the trigger on top, and Pub/Sub, whose emulator polls every 100 ms and pushes two messages at a time. Polling is the")
	t.note("design that polls every second, asked at random moments. All are measured in turns. Limits raised: %v.", raisedLimits)
	medians := b.table("From the request's frame to the package's frame, median", designs[:]...)
	medians.file, medians.unit = "path.svg", "milliseconds"
	defer b.wire.set(0)
	for _, size := range b.sizes.paths {
		b.wire.set(size.rtt)
		name := fmt.Sprintf("RTT %v, %d in flight", size.rtt, size.inFlight)
		took, err := b.inTurns(ctx, name, size, all)
		if err != nil {
			return err
		}
		b.judgePath(name, took, t, medians)
	}
	return nil
}

// inTurns measures all designs, so that what else the machine does meets all of them.
func (b *bench) inTurns(ctx context.Context, name string, size pathSize, all []design) (took [5]sample, err error) {
	for round := range size.rounds {
		for i, d := range all {
			if size.requests[i] == 0 {
				continue
			}
			progress("%s, round %d of %d: %s", name, round+1, size.rounds, designs[i])
			each, err := b.ask(ctx, d, size.inFlight, size.requests[i])
			if err != nil {
				return took, fmt.Errorf("%s: %s: %w", name, designs[i], err)
			}
			took[i] = append(took[i], each...)
		}
	}
	return took, nil
}

// settling is how long a requester waits before it asks again: what is recorded of a delivery is not a part of the next one's way.
const settling = 30 * time.Millisecond

// ask restocks a design and makes n requests, always as many at a time as there are requesters.
func (b *bench) ask(ctx context.Context, d design, requesters, n int) (sample, error) {
	if err := b.wire.without(func() error { return d.restock(ctx, n) }); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // then one of them is lost
	defer cancel()
	runtime.GC() // the garbage is not that of what is measured
	each := make(sample, n)
	group, ctx := errgroup.WithContext(ctx)
	for requester := range requesters {
		group.Go(func() (err error) {
			for i := requester; err == nil && i < n; i += requesters {
				each[i], err = d.request(ctx, requester)
				time.Sleep(settling)
			}
			return err
		})
	}
	return each, group.Wait()
}

// judgePath reports what each design took. Targets are judged where the design that polls took part.
func (b *bench) judgePath(name string, took [5]sample, t, medians *table) {
	all := make([]float64, len(took))
	for i, each := range took {
		all[i] = each.quantile(0.5)
		if len(each) > 0 {
			t.add(name+": "+designs[i], each.row()...)
		}
	}
	medians.add(name, all...)
	over := func(a, b int) []float64 {
		ratios := took[a].row()
		for i, below := range took[b].row() {
			ratios[i] /= below
		}
		return ratios
	}
	t.add(name+": functions over least", over(viaFunctions, theLeast)...)
	t.add(name+": gateway, 447, over least", over(viaGateway, theLeast)...)
	if len(took[byPolling]) > 0 {
		b.atMost(name+": gateway over least, p50", over(viaGateway, theLeast)[0], 2)
		b.atMost(name+": gateway over polling, p50", over(viaGateway, byPolling)[0], 1./15)
		b.atMost(name+": gateway over polling, p99", over(viaGateway, byPolling)[2], 1./10)
	}
}

// usage measures what many requests take of the functions' processes, from a start of theirs.
func (b *bench) usage(ctx context.Context) error {
	const requesters = 20
	s, err := b.newSystem(ctx, config.ServedByFunctions, requesters)
	if err != nil {
		return err
	}
	defer s.close()
	functions := [2]string{suite.Claim, suite.Deliver}
	var ready [2]float64
	var before [2]time.Duration
	for i, name := range functions {
		ready[i], before[i] = taken(s.suite.PID(name))
	}
	if _, err := b.ask(ctx, s, requesters, b.sizes.served); err != nil {
		return err
	}
	t := b.table(fmt.Sprintf("What %d requests take", b.sizes.served), "resident MB when ready", "after them", "CPU ms for each")
	t.note("The process is this program, which holds more than what is deployed.")
	for i, name := range functions {
		resident, cpu := taken(s.suite.PID(name))
		t.add(name, ready[i], resident, milliseconds(cpu-before[i])/float64(b.sizes.served))
		b.atMost(name+": resident after its requests, MB", resident, 64)
	}
	return nil
}

// taken is what a process holds, in MB (10^6 bytes), and has taken of the CPU.
func taken(pid int) (resident float64, cpu time.Duration) {
	// The fields of proc(5), numbered from the state, which stands behind the name and its bracket.
	const userTime, systemTime, residentPages, ticksPerSecond = 11, 12, 21, 100
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, behind, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behind)
	if len(fields) <= residentPages {
		return math.NaN(), 0 // only Linux has these figures
	}
	number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
	cpu = time.Duration(number(userTime)+number(systemTime)) * time.Second / ticksPerSecond
	return float64(number(residentPages)*os.Getpagesize()) / 1e6, cpu
}
