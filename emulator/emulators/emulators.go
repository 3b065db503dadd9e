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

// Emulators is a running pair. Each may be stopped or killed, and then started again, at the same address and without its data,
// which lives in memory. The addresses are in the form that FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST want.
type Emulators struct {
	Firestore *process.Process
	PubSub    *process.Process

	triggers *triggers
	tempDir  string
}

// Start finds or downloads and starts both emulators and returns when they serve. The caller must call Stop; should this
// program end without doing so, the emulators end with it (on Linux). ctx bounds the start only.
func Start(ctx context.Context, opts Options) (*Emulators, error) {
	installed, err := Find(ctx, opts.Progress)
	if err != nil {
		return nil, err
	}
	e := &Emulators{}
	if err := e.start(ctx, installed, opts); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

func (e *Emulators) start(ctx context.Context, installed Installation, opts Options) (err error) {
	logDir := opts.LogDir
	if logDir == "" {
		if e.tempDir, err = os.MkdirTemp("", "emulators-"); err != nil {
			return fmt.Errorf("directory for the emulators' logs: %w", err)
		}
		logDir = e.tempDir
	}
	if e.triggers, err = newTriggers(); err != nil {
		return err
	}
	// The Firestore emulator's messages are only written for English (its own wrapper script sets the same).
	jvm := []string{"-Duser.language=en", "-Xmx" + cmp.Or(opts.Heap, defaultHeap)}
	if !opts.LongLived {
		jvm = append(jvm, shortLived...)
	}
	emulator := func(p product, jar, log string, port int, args ...string) (*process.Process, error) {
		port, err := process.ChoosePort(port)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
		args = slices.Concat(jvm, []string{"-cp", jar, p.mainClass, "--host=127.0.0.1", fmt.Sprintf("--port=%d", port)}, args)
		return &process.Process{
			Name: p.title, Path: installed.Java, Args: args, LogFile: filepath.Join(logDir, log), Port: port,
			Ready: process.ServesHTTP("http://" + process.Addr(port) + "/"),
		}, nil
	}
	functions := "--functions_emulator=" + e.triggers.addr
	e.Firestore, err = emulator(firestoreProduct, installed.Firestore, "firestore.log", opts.FirestorePort, functions)
	if err != nil {
		return err
	}
	if e.PubSub, err = emulator(pubsubProduct, installed.PubSub, "pubsub.log", opts.PubSubPort); err != nil {
		return err // before either has taken its time to start
	}
	return startBoth(ctx, opts.Progress, e.Firestore, e.PubSub)
}

func startBoth(ctx context.Context, progress func(string), both ...*process.Process) error {
	var group errgroup.Group
	for _, emulator := range both {
		group.Go(func() error {
			begun := time.Now()
			err := emulator.Start(ctx)
			if err == nil && progress != nil {
				progress(fmt.Sprintf("%s is ready at %s (%.1f s)", emulator.Name, emulator.Addr(), time.Since(begun).Seconds()))
			}
			return err
		})
	}
	return group.Wait()
}

// defaultHeap is small because several packages' tests may each run a pair: without a bound the Firestore emulator grows
// to 1 GB under a load that it serves as well with 512 MB. It holds all documents there: 300,000 small ones need more.
const defaultHeap = "512m"

// shortLived is for runs of minutes, in which most of the CPU of an emulator with Java's defaults is its compiler: a start
// and a first request take half of it, and so do the 20 s of tests/simulation.
var shortLived = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// Stop ends both emulators and returns when their processes are gone.
func (e *Emulators) Stop() error {
	var errs []error
	for _, emulator := range []*process.Process{e.Firestore, e.PubSub} {
		if emulator != nil {
			errs = append(errs, emulator.Stop())
		}
	}
	if e.triggers != nil {
		errs = append(errs, e.triggers.server.Close())
	}
	if e.tempDir != "" {
		errs = append(errs, os.RemoveAll(e.tempDir))
	}
	return errors.Join(errs...)
}
