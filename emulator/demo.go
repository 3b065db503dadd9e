package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/demo"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/page"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var errNotSeen = errors.New("not everything promised was seen")

// playDemo starts everything on free ports, plays the demo on it, and stops it. It fails unless everything promised was seen.
func playDemo(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print one JSON document on standard output, and the story on standard error")
	patience := flags.Duration("patience", 20*time.Second, "how long an act may take")
	pages := flags.Bool("page", false, "serve live pages to watch it in a browser, and leave everything running at the end, until Ctrl-C")
	logs := flags.String("logs", "", "existing directory in which the logs of all processes stay")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *patience <= 0 {
		return fmt.Errorf("-patience is %v; it must be above zero", *patience)
	}
	env := settings()
	if mode := keypackage.Mode(env["ROLLOUT_MODE"]); mode == keypackage.ModeObserve || mode == keypackage.ModeOff {
		return fmt.Errorf("ROLLOUT_MODE is %q, which tells the functions not to deliver; unset it to see the demo", mode)
	}
	story := os.Stdout
	if *asJSON {
		story = os.Stderr
	}
	printer := demo.NewPrinter(story, isTerminal(story))
	report, err := playOn(ctx, suite.Options{FunctionEnv: env, Dir: *logs, Progress: printer.Progress}, printer, *patience, *pages)
	if err != nil {
		return err
	}
	if *asJSON {
		err = command.PrintJSON(os.Stdout, report)
	}
	if !report.OK {
		hint(story, *logs)
		err = errors.Join(err, errNotSeen)
	}
	return err
}

// playOn starts two suites on the same emulators: in one the gateway serves the requests, in the other the functions alone do.
func playOn(ctx context.Context, opts suite.Options, printer *demo.Printer, patience time.Duration, pages bool) (report *demo.Report, err error) {
	opts.RequestsServedBy = config.ServedByGateway
	gateway, err := suite.Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gateway.Stop()) }()
	opts.RequestsServedBy, opts.Emulators = config.ServedByFunctions, gateway.Emulators()
	if opts.Dir != "" {
		opts.Dir = filepath.Join(opts.Dir, "functions")
		if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	functions, err := suite.Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, functions.Stop()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // an act would wait in vain for what a process that has ended was to do
		select {
		case err := <-gateway.Failed():
			cancel(err)
		case err := <-functions.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if !pages {
		return play(ctx, gateway, functions, printer, patience)
	}
	stop, err := servePages(ctx, printer, gateway, functions)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if report, err = play(ctx, gateway, functions, printer, patience); err == nil {
		printer.Progress("the pages stay until Ctrl-C")
		<-ctx.Done()
	}
	return report, err
}

// servePages serves a page for each suite, says where, and returns what ends them.
func servePages(ctx context.Context, printer *demo.Printer, gateway, functions *suite.Suite) (stop func() error, err error) {
	first, err := page.Start(ctx, 0, gateway)
	if err != nil {
		return nil, err
	}
	second, err := page.Start(ctx, 0, functions)
	if err != nil {
		return nil, errors.Join(err, first.Stop())
	}
	printer.Progress("live page where the gateway serves:          " + first.URL())
	printer.Progress("live page where the functions serve alone:   " + second.URL())
	return func() error { return errors.Join(first.Stop(), second.Stop()) }, nil
}

func play(ctx context.Context, gateway, functions *suite.Suite, printer *demo.Printer, patience time.Duration) (*demo.Report, error) {
	byGateway, err := newSystem(ctx, gateway, patience)
	if err != nil {
		return nil, err
	}
	defer byGateway.Firestore.Close()
	byFunctions, err := newSystem(ctx, functions, patience)
	if err != nil {
		return nil, err
	}
	defer byFunctions.Firestore.Close()
	return demo.Play(ctx, byGateway, byFunctions, printer)
}

func newSystem(ctx context.Context, running *suite.Suite, patience time.Duration) (demo.System, error) {
	settings := running.Config()
	client, err := running.Documents(ctx)
	if err != nil {
		return demo.System{}, err
	}
	return demo.System{
		Relay: running.Addresses().Relay, Firestore: client, Deliveries: settings.Collections.Deliveries, Patience: patience,
	}, nil
}

// hint says where to look when something promised was not seen.
func hint(w io.Writer, logs string) {
	if logs == "" {
		fmt.Fprintln(w, "  With -logs DIR the logs of all processes stay in DIR.")
		return
	}
	fmt.Fprintf(w, "  The logs of all processes are in %s.\n", logs)
}

// isTerminal reports whether colors make sense: not in a file, and not where NO_COLOR (https://no-color.org) forbids them.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}
