// Package emulators finds or downloads, starts and stops Google's official Firestore and Pub/Sub emulators, and the Java
// runtime that they need.
//
// It runs Java itself rather than the wrapper scripts, so that the process it started is the one that listens.
package emulators

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// Options says how to start the emulators. The zero value is good.
type Options struct {
	FirestorePort int          // 0 chooses a free one
	PubSubPort    int          // 0 chooses a free one
	LogDir        string       // "" is a temporary directory that Stop removes
	Heap          string       // of each, as java's -Xmx wants it; "" is 512m
	LongLived     bool         // Java compiles for a long run under load, at the cost of the first minutes
	Progress      func(string) // told what is happening, in a few words; may be nil, must allow concurrent calls
}

const (
	// defaultHeap is small because several packages' tests may each run a pair: without a bound the Firestore emulator grows
	// to 1 GB under a load that it serves as well with 512 MB. It holds all documents there: 300,000 small ones need more.
	defaultHeap = "512m"
	// Short-lived is what runs for minutes, in which most of the CPU of an emulator with Java's defaults is its compiler: a
	// start and a first request take half of it, and so do the 20 s of tests/simulation.
	quickCompiler, quickCollector = "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"
)

// Emulators is a running pair. Each may be stopped or killed, and then started again, at the same address and without its data,
// which lives in memory. The addresses are in the form that FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST want.
type Emulators struct {
	Firestore *process.Process
	PubSub    *process.Process

	triggers *triggers
	cleanup  []func() error // run last to first
}

// Start finds or downloads and starts both emulators and returns when they serve. The caller must call Stop; should this
// program end without doing so, the emulators end with it (on Linux). ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Emulators, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	installed, err := find(ctx, opts.Progress)
	if err != nil {
		return nil, err
	}
	e := &Emulators{}
	if err := e.start(ctx, installed, opts); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

func (e *Emulators) start(ctx context.Context, installed installation, opts Options) (err error) {
	if opts.LogDir == "" {
		if opts.LogDir, err = os.MkdirTemp("", "emulators-"); err != nil {
			return fmt.Errorf("directory for the emulators' logs: %w", err)
		}
		e.cleanup = append(e.cleanup, func() error { return os.RemoveAll(opts.LogDir) })
	}
	if e.triggers, err = newTriggers(); err != nil {
		return err
	}
	e.cleanup = append(e.cleanup, e.triggers.server.Close)
	// The Firestore emulator's messages are only written for English (its own wrapper script sets the same).
	jvm := []string{"-Duser.language=en", "-Xmx" + cmp.Or(opts.Heap, defaultHeap)}
	if !opts.LongLived {
		jvm = append(jvm, quickCompiler, quickCollector)
	}
	emulator := func(p product, port int, args ...string) (*process.Process, error) {
		port, err := process.FreePort(port)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
		args = slices.Concat(jvm, []string{"-cp", installed.jars[p.name], p.mainClass, "--host=127.0.0.1", fmt.Sprint("--port=", port)}, args)
		return &process.Process{
			Name: p.title, Path: installed.java, Args: args, LogFile: filepath.Join(opts.LogDir, p.name+".log"),
			Port: port, Ready: process.ServesHTTP,
		}, nil
	}
	if e.Firestore, err = emulator(firestore, opts.FirestorePort, "--functions_emulator="+e.triggers.addr); err != nil {
		return err
	}
	if e.PubSub, err = emulator(pubsub, opts.PubSubPort); err != nil {
		return err // before either has taken its time to start
	}
	var group errgroup.Group
	for _, emulator := range []*process.Process{e.Firestore, e.PubSub} {
		e.cleanup = append(e.cleanup, func() error { emulator.Stop(); return nil })
		group.Go(func() error {
			begun := time.Now()
			if err := emulator.Start(ctx); err != nil {
				return err
			}
			opts.Progress(fmt.Sprintf("%s is ready at %s (%.1f s)", emulator.Name, emulator.Addr(), time.Since(begun).Seconds()))
			return nil
		})
	}
	return group.Wait()
}

// Stop ends both emulators and returns when their processes are gone.
func (e *Emulators) Stop() (err error) {
	for _, undo := range slices.Backward(e.cleanup) {
		err = errors.Join(err, undo())
	}
	return err
}
