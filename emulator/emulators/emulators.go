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
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
)

// startTimeout bounds the start of one emulator: 2 s on an idle machine with two cores, more than 90 s on one that is
// overloaded thirty times. An emulator that ends is noticed at once.
const startTimeout = 5 * time.Minute

// Options says how to start the emulators. The zero value is good.
type Options struct {
	FirestorePort int          // 0 chooses a free one
	PubSubPort    int          // 0 chooses a free one
	LogDir        string       // "" is a temporary directory that Stop removes
	Heap          string       // of each, as java's -Xmx wants it; "" is 512m
	LongLived     bool         // Java compiles for a long run under load, at the cost of the first minutes
	Progress      func(string) // told what is happening, in a few words; may be nil, must allow concurrent calls
}

// Emulators is a running pair. What they store lives in memory and ends with them.
type Emulators struct {
	Firestore *Emulator
	PubSub    *Emulator

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

func (e *Emulators) start(ctx context.Context, installed Installation, opts Options) error {
	logDir := opts.LogDir
	if logDir == "" {
		dir, err := os.MkdirTemp("", "emulators-")
		if err != nil {
			return fmt.Errorf("directory for the emulators' logs: %w", err)
		}
		e.tempDir, logDir = dir, dir
	}
	jvm := []string{"-Xmx" + cmp.Or(opts.Heap, defaultHeap)}
	if !opts.LongLived {
		jvm = append(jvm, shortLived...)
	}
	var err error
	if e.triggers, err = newTriggers(); err != nil {
		return err
	}
	e.Firestore = &Emulator{
		title:   firestoreProduct.title,
		port:    opts.FirestorePort,
		logFile: filepath.Join(logDir, "firestore.log"),
		command: func(port int) (string, []string) {
			return installed.Java, firestoreArgs(installed.Firestore, jvm, port, e.triggers.addr())
		},
	}
	e.PubSub = &Emulator{
		title:   pubsubProduct.title,
		port:    opts.PubSubPort,
		logFile: filepath.Join(logDir, "pubsub.log"),
		command: func(port int) (string, []string) { return installed.Java, pubsubArgs(installed.PubSub, jvm, port) },
	}
	if err := errors.Join(e.Firestore.choosePort(), e.PubSub.choosePort()); err != nil {
		return err // before either has taken its time to start
	}
	return startBoth(ctx, opts.Progress, e.Firestore, e.PubSub)
}

func startBoth(ctx context.Context, progress func(string), both ...*Emulator) error {
	errs := make([]error, len(both))
	var wg sync.WaitGroup
	for i, emulator := range both {
		wg.Go(func() {
			begun := time.Now()
			errs[i] = emulator.Start(ctx)
			if errs[i] == nil && progress != nil {
				progress(fmt.Sprintf("%s is ready at %s (%.1f s)", emulator.title, emulator.Addr(), time.Since(begun).Seconds()))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// defaultHeap is small because several packages' tests may each run a pair: without a bound the Firestore emulator grows
// to 1 GB under a load that it serves as well with 512 MB. It holds all documents there: 300,000 small ones need more.
const defaultHeap = "512m"

// shortLived is for runs of minutes, in which most of the CPU of an emulator with Java's defaults is its compiler: a start
// and a first request take half of it, and so do the 20 s of tests/simulation.
var shortLived = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// The Firestore emulator's messages are only written for English (its own wrapper script sets the same).
func firestoreArgs(jar string, jvm []string, port int, functionsAddr string) []string {
	return slices.Concat(jvm, []string{"-Duser.language=en", "-cp", jar, firestoreProduct.mainClass,
		"--host", "127.0.0.1", "--port", fmt.Sprint(port), "--functions_emulator", functionsAddr})
}

func pubsubArgs(jar string, jvm []string, port int) []string {
	return slices.Concat(jvm, []string{"-cp", jar, pubsubProduct.mainClass, "--host=127.0.0.1", fmt.Sprintf("--port=%d", port)})
}

// Stop ends both emulators and returns when their processes are gone.
func (e *Emulators) Stop() error {
	var errs []error
	for _, emulator := range []*Emulator{e.Firestore, e.PubSub} {
		if emulator != nil {
			errs = append(errs, emulator.Stop())
		}
	}
	if e.triggers != nil {
		errs = append(errs, e.triggers.close())
	}
	if e.tempDir != "" {
		errs = append(errs, os.RemoveAll(e.tempDir))
	}
	return errors.Join(errs...)
}

// Emulator is one of the pair. It may be stopped and started again, on the same port and without its data.
type Emulator struct {
	title   string
	logFile string
	command func(port int) (java string, args []string)

	mu      sync.Mutex // guards what follows
	port    int
	process *process.Process
}

// Addr is host:port, the form that FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST want.
func (e *Emulator) Addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return process.Addr(e.port)
}

// LogFile is where the emulator's output goes.
func (e *Emulator) LogFile() string { return e.logFile }

// Start starts a stopped emulator and returns when it serves.
func (e *Emulator) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.choosePort(); err != nil {
		return err
	}
	java, args := e.command(e.port)
	p, err := process.Start(process.Spec{Name: e.title, Path: java, Args: args, LogFile: e.logFile})
	if err != nil {
		return err
	}
	e.process = p
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.AwaitReady(ctx, process.ServesHTTP("http://"+process.Addr(e.port)+"/"))
}

// choosePort makes sure that the emulator has a port and that it is free. The caller holds mu or is the only user.
func (e *Emulator) choosePort() error {
	if e.port == 0 {
		port, err := process.FreePort()
		e.port = port
		return err
	}
	if err := process.CheckPort(e.port); err != nil {
		return fmt.Errorf("%s: %w", e.title, err)
	}
	return nil
}

// Stop ends the emulator in order.
func (e *Emulator) Stop() error { return e.end((*process.Process).Stop) }

// Kill ends the emulator at once, as a crash would.
func (e *Emulator) Kill() error { return e.end((*process.Process).Kill) }

func (e *Emulator) end(how func(*process.Process) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process == nil {
		return nil
	}
	err := how(e.process)
	e.process = nil
	return err
}
