package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/demo"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/page"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// patience bounds an act, which takes a second on an idle machine; nothing waits for it to pass.
const patience = 2 * time.Minute

// playDemo starts everything on free ports, plays the demo on it, and stops it. It fails unless everything promised was seen.
func playDemo(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	pages := flags.Bool("page", false, "serve live pages to watch it in a browser, and leave everything running at the end, until Ctrl-C")
	logs := flags.String("logs", "", "existing `directory` in which the logs of all processes stay")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	env := settings()
	if mode := keypackage.Mode(env["ROLLOUT_MODE"]); mode == keypackage.ModeObserve || mode == keypackage.ModeOff {
		return fmt.Errorf("ROLLOUT_MODE is %q, which tells the functions not to deliver; unset it to see the demo", mode)
	}
	printer := demo.NewPrinter(os.Stdout, isTerminal(os.Stdout))
	ok, err := playOn(ctx, suite.Options{FunctionEnv: env, Dir: *logs, Progress: printer.Progress}, printer, *pages)
	switch {
	case err != nil || ok:
		return err
	case *logs == "":
		return errors.New("not everything promised was seen; -logs DIR keeps the logs of all processes")
	}
	return fmt.Errorf("not everything promised was seen; the logs of all processes are in %s", *logs)
}

// playOn starts two suites on the same emulators: in one the gateway serves the requests, in the other the functions alone do.
func playOn(ctx context.Context, opts suite.Options, printer *demo.Printer, pages bool) (ok bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopped := func(stop func() error) { err = errors.Join(err, stop()) }
	var systems [2]demo.System
	for i, servedBy := range []config.ServedBy{config.ServedByGateway, config.ServedByFunctions} {
		if i > 0 && opts.Dir != "" {
			opts.Dir = filepath.Join(opts.Dir, "functions")
			if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
				return false, err
			}
		}
		opts.RequestsServedBy = servedBy
		running, err := suite.Start(ctx, opts)
		if err != nil {
			return false, err
		}
		defer stopped(running.Stop)
		opts.Emulators = running.Emulators()
		go func() { // an act would wait in vain for what a process that has ended was to do
			select {
			case err := <-running.Failed():
				cancel(err)
			case <-ctx.Done():
			}
		}()
		documents, err := running.Documents(ctx)
		if err != nil {
			return false, err
		}
		defer documents.Close()
		systems[i] = demo.System{
			Relay: running.Addresses().Relay, Patience: patience,
			Store: store.New(documents, running.Config().Collections, running.Config().Policy),
		}
		if pages {
			live, err := page.Start(ctx, 0, running)
			if err != nil {
				return false, err
			}
			defer stopped(live.Stop)
			printer.Progress("live page where the " + []string{"gateway serves: ", "functions serve alone: "}[i] + live.URL())
		}
	}
	if ok, err = demo.Play(ctx, systems[0], systems[1], printer); err == nil && pages {
		printer.Progress("the pages stay until Ctrl-C")
		<-ctx.Done()
	}
	return ok, err
}

// isTerminal reports whether colors make sense: not in a file, and not where NO_COLOR (https://no-color.org) forbids them.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}
