// Command bench measures the system on the official emulators, next to the least that its promises need and to a design that
// polls. All in one run, in less than eight minutes: figures of different runs on a shared machine cannot be compared. Between
// Firestore's clients and the emulator lies a wire whose round-trip time is chosen: none shows what the machine takes, 8 ms what
// calls in a row cost in a region. What the parts that only calculate take is measured by go test -bench.
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

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

func main() {
	suite.Serve() // the suite runs its processes from this program
	command.Main("bench", measure)
}

// sectionIDs in the order in which they run: the most sensitive ones while the emulators are still empty.
const sectionIDs = "path,claims,load,cost,growth,usage"

var sections = map[string]func(*bench, context.Context){
	"path":   (*bench).path,   // from a request's frame to the package's frame, by the functions and by the gateway
	"claims": (*bench).claims, // claims a second, one hot owner at many instances
	"load":   (*bench).load,   // requests at a rate, up to where it cannot be kept
	"cost":   (*bench).cost,   // what Firestore charges for a request, and why
	"growth": (*bench).growth, // what a large stock changes
	"usage":  (*bench).usage,  // memory and CPU of the functions
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
	b := &bench{report: newReport(*short, args...), short: *short}
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
	short     bool
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
	b.emulators, err = emulators.Start(ctx, emulators.Options{Java: []string{"-Xmx" + heap}, Progress: command.Progress})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.emulators.Stop()) }()
	if b.wire, err = newWire(b.emulators.Firestore.Addr()); err != nil {
		return err
	}
	defer b.wire.Close()
	for i, id := range wanted {
		command.Progress(fmt.Sprintf("section %s, %d of %d", id, i+1, len(wanted)))
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

// region is what a call to Firestore is assumed to take on its way within a region, there and back.
const region = 8 * time.Millisecond

var distances = []time.Duration{0, region}

// few is a number of things, or in a short run just enough of them to see that it runs.
func (b *bench) few(n int) int {
	if b.short {
		return (n + 39) / 40
	}
	return n
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
