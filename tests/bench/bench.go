package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// options are those of the command.
type options struct {
	short      bool
	only, logs string
}

// section is one subject of the bench.
type section struct {
	id  string
	run func(*bench, context.Context) error
}

// sections in the order in which they run: the most sensitive ones while the emulators are still empty.
var sections = []section{
	{"path", (*bench).path}, {"claims", (*bench).claims}, {"load", (*bench).load}, {"cost", (*bench).cost},
	{"growth", (*bench).growth}, {"start", (*bench).start},
}

// sectionIDs lists what may be chosen.
func sectionIDs() string {
	ids := make([]string, len(sections))
	for i, s := range sections {
		ids[i] = s.id
	}
	return strings.Join(ids, ",")
}

// chosen are the sections of these ids, separated by commas.
func chosen(ids string) (list []section, err error) {
	for id := range strings.SplitSeq(ids, ",") {
		i := slices.IndexFunc(sections, func(s section) bool { return s.id == id })
		if i < 0 {
			return nil, fmt.Errorf("-only: no section is called %q; there are %s", id, sectionIDs())
		}
		list = append(list, sections[i])
	}
	return list, nil
}

// bench is one run.
type bench struct {
	*Report
	sizes  sizes
	logs   string
	suite  *suite.Suite
	wire   *wire
	stamps stamps
}

// run measures and returns the report, also with an error: then it holds the sections that succeeded. It sets environment
// variables of this process, by which Google's clients find the emulators.
func run(ctx context.Context, o options) (report *Report, err error) {
	wanted, err := chosen(o.only)
	if err != nil {
		return nil, err
	}
	b := &bench{Report: newReport(o), sizes: full, logs: o.logs}
	if o.short {
		b.sizes = short
	}
	running, err := emulators.Start(ctx, emulators.Options{Heap: heap, LongLived: true, LogDir: o.logs, Progress: command.Progress})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	if b.wire, err = newWire(running.Firestore.Addr()); err != nil {
		return nil, err
	}
	defer b.wire.Close()
	if b.suite, err = suite.Start(ctx, b.suiteOptions(running)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.suite.Stop()) }()
	if err := b.useEmulators(); err != nil {
		return nil, err
	}
	for i, s := range wanted {
		progress("section %s, %d of %d", s.id, i+1, len(wanted))
		took, err := timed(func() error { return s.run(b, ctx) })
		if err != nil {
			return b.Report, fmt.Errorf("section %s: %w", s.id, err)
		}
		progress("section %s took %v", s.id, took.Round(time.Second))
	}
	return b.Report, nil
}

// raisedLimits are settings under which the limits measure nothing: a limited request is a cheap one.
var raisedLimits = map[string]string{"PAIR_LIMIT_PER_HOUR": "10000", "OWNER_BUDGET_PER_HOUR": "100000"}

// heap of each emulator: with the usual one, the Firestore emulator spends half its time in garbage collection once it
// holds 300,000 documents.
const heap = "4g"

func (b *bench) suiteOptions(running *emulators.Emulators) suite.Options {
	env := map[string]string{"FIRESTORE_EMULATOR_HOST": b.wire.Addr().String()}
	for name, value := range raisedLimits {
		env[name] = value
	}
	return suite.Options{
		Emulators: running, FunctionEnv: env, Middleware: b.middleware, TickEvery: time.Minute, // as in the cloud
		RequestsServedBy: config.ServedByFunctions, Dir: b.logs, Progress: command.Progress,
	}
}

// useEmulators makes the clients of this process find what the suite's processes find.
func (b *bench) useEmulators() error {
	addresses := b.suite.Addresses()
	return errors.Join(
		os.Setenv("FIRESTORE_EMULATOR_HOST", b.wire.Addr().String()),
		os.Setenv("PUBSUB_EMULATOR_HOST", addresses.PubSub),
		os.Setenv("GCE_METADATA_HOST", addresses.Metadata))
}

// atEachDistance runs a measurement once for each round-trip time.
func (b *bench) atEachDistance(measure func(distance string) error) error {
	defer b.wire.set(0)
	for _, rtt := range b.sizes.distances {
		b.wire.set(rtt)
		if err := measure(fmt.Sprintf("RTT %v", rtt)); err != nil {
			return err
		}
	}
	return nil
}

func progress(format string, args ...any) { command.Progress(fmt.Sprintf(format, args...)) }

// settle gives the garbage of one measurement to the collector before the next one begins.
func settle() { runtime.GC() }
