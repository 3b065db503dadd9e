// Command bench measures the system on the official emulators, next to the least that its promises need and to a design that
// polls. All in one run, in less than eight minutes: figures of different runs on a shared machine cannot be compared. Between
// Firestore's clients and the emulator lies a wire whose round-trip time is chosen: none shows what the machine takes, 8 ms what
// calls in a row cost in a region. What the parts that only calculate take is measured by go test -bench.
//
//	path    path.go           from a request's frame to the package's frame, by the functions and by the gateway
//	claims  offer.go          claims a second, one hot owner at many instances
//	load    offer.go          requests at a rate, up to where it cannot be kept
//	cost    cost.go meter.go  what Firestore charges for a request, and why
//	growth  cost.go           what a large stock changes
//	usage   path.go           memory and CPU of the functions
//
// report.go shows what they found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/child"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
)

func main() {
	child.Serve() // the suite runs its processes from this program
	command.Main("bench", measure)
}

// sectionIDs in the order in which they run: the most sensitive ones while the emulators are still empty.
const sectionIDs = "path,claims,load,cost,growth,usage"

var sections = map[string]func(*bench, context.Context){
	"path": (*bench).path, "claims": (*bench).claims, "load": (*bench).load,
	"cost": (*bench).cost, "growth": (*bench).growth, "usage": (*bench).usage,
}

// measure runs the bench and prints its tables, those of the sections before one that failed, too. Targets that were missed
// do not make it fail: the machine may be busy.
func measure(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("short", false, "the smallest numbers, to see that it runs; times mean nothing")
	only := flags.String("only", sectionIDs, "sections to run, separated by commas")
	pictures := flags.String("plot", "", "existing directory into which pictures of the figures are drawn, as SVG")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	wanted := strings.Split(*only, ",")
	for _, id := range wanted {
		if sections[id] == nil {
			return fmt.Errorf("-only: no section is called %q; there are %s", id, sectionIDs)
		}
	}
	b := &bench{report: newReport(*short, args...), sizes: fullSizes}
	if *short {
		b.sizes = shortSizes
	}
	err := b.run(ctx, wanted)
	b.print(os.Stdout)
	if err != nil || *pictures == "" {
		return err
	}
	return b.draw(*pictures)
}

// bench is one run.
type bench struct {
	*report
	sizes     sizes
	emulators *emulators.Emulators
	wire      *wire
	fatal     func(error) // ends the section from its goroutine, as a test's Fatal does: what is deferred still happens
}

// must ends the section if err is not nil.
func (b *bench) must(err error) {
	if err != nil {
		b.fatal(err)
	}
}

func (b *bench) run(ctx context.Context, wanted []string) (err error) {
	const heap = "4g" // with the usual one, 300,000 documents make Firestore's spend half its time in garbage collection
	b.emulators, err = emulators.Start(ctx, emulators.Options{Heap: heap, LongLived: true, Progress: command.Progress})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.emulators.Stop()) }()
	if b.wire, err = newWire(b.emulators.Firestore.Addr()); err != nil {
		return err
	}
	defer b.wire.Close()
	for i, id := range wanted {
		progress("section %s, %d of %d", id, i+1, len(wanted))
		b.wire.set(0)
		b.fatal = func(failed error) {
			err = fmt.Errorf("section %s: %w", id, failed)
			runtime.Goexit()
		}
		var section sync.WaitGroup
		section.Go(func() { sections[id](b, ctx) })
		if section.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func progress(format string, args ...any) { command.Progress(fmt.Sprintf(format, args...)) }

// sizes are the numbers of things in each section.
type sizes struct {
	distances []time.Duration // round-trip times of Firestore
	paths     []pathSize
	warmup    int           // requests of each design before the first measured one
	claims    []offered     // those at several instances are compared with the last at one
	rate      int           // the first rate of the open loop, requests a second; the next is twice that
	offered   time.Duration // how long each rate is offered
	costs     int           // owners whose requests are counted
	stocks    []int         // sizes of a stock
	served    int           // requests after which memory and CPU are looked at
}

// pathSize is one measurement of the path, with the requests of each round by design. The functions wait for the Pub/Sub emulator,
// and a poll for its second, so they make fewer.
type pathSize struct {
	rtt              time.Duration
	inFlight, rounds int
	requests         [5]int
}

// region is what a call to Firestore is assumed to take on its way within a region, there and back.
const region = 8 * time.Millisecond

var fullSizes = sizes{
	distances: []time.Duration{0, region},
	paths: []pathSize{
		{0, 1, 2, [5]int{50, 150, 150, 150, 20}}, {0, 10, 2, [5]int{100, 200, 200, 200}}, {0, 100, 1, [5]int{300, 400, 400, 400}},
		{region, 1, 2, [5]int{50, 150, 150, 150}}, {region, 10, 2, [5]int{100, 200, 200, 200}},
	},
	claims: []offered{
		{200, 1, 20, 1}, {1, 1, 1, 1}, {1, 10, 10, 1}, {1, 50, 50, 1},
		{1, 200, 200, 1}, {1, 200, 200, 2}, {1, 200, 200, 8}, {1, 200, 200, 20},
	},
	warmup: 50, rate: 100, offered: 4 * time.Second, costs: 4, stocks: []int{5, 10, 20, 50, 100, 200}, served: 1_000,
}

var shortSizes = sizes{
	distances: []time.Duration{region},
	paths:     []pathSize{{0, 1, 1, [5]int{5, 5, 5, 5, 3}}, {region, 10, 1, [5]int{20, 20, 20, 20}}},
	claims:    []offered{{20, 1, 5, 1}, {1, 10, 10, 1}, {1, 10, 10, 2}},
	warmup:    5, rate: 500, offered: 100 * time.Millisecond, costs: 1, stocks: []int{5, 20}, served: 50,
}

// wire lies between Firestore's clients and the emulator and adds a round-trip time, as a network does: what is sent at the
// same time arrives at the same time, so that only what waits for an answer takes longer.
type wire struct {
	net.Listener
	oneWay atomic.Int64 // nanoseconds
}

func newWire(emulator string) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: listener}
	go func() {
		for client, err := w.Accept(); err == nil; client, err = w.Accept() {
			server, err := net.Dial("tcp", emulator)
			if err != nil {
				_ = client.Close()
				continue
			}
			go w.carry(server, client)
			go w.carry(client, server)
		}
	}()
	return w, nil
}

// set chooses the round-trip time.
func (w *wire) set(rtt time.Duration) { w.oneWay.Store(int64(rtt / 2)) }

// pause takes the delay away until resume is called: what prepares a measurement is not measured.
func (w *wire) pause() (resume func()) {
	oneWay := w.oneWay.Swap(0)
	return func() { w.oneWay.Store(oneWay) }
}

// carry hands on what comes, late and in order, until one side ends.
func (w *wire) carry(to, from net.Conn) {
	writes := make(chan func(), 1024)
	defer close(writes)
	go func() {
		defer to.Close()
		for write := range writes {
			write()
		}
	}()
	for {
		data := make([]byte, 32<<10)
		n, err := from.Read(data)
		if err != nil {
			return
		}
		due := time.Now().Add(time.Duration(w.oneWay.Load()))
		writes <- func() {
			time.Sleep(time.Until(due))
			_, _ = to.Write(data[:n]) // fails if that side has ended, which ends the way back, and that this one
		}
	}
}
