package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/demo"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var errNotSeen = errors.New("not everything promised was seen")

// playDemo starts the suite on free ports, plays the demo on it, and stops it. It fails unless everything promised was
// seen.
func playDemo(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print one JSON document on standard output, and the story on standard error")
	patience := flags.Duration("patience", 20*time.Second, "how long an act may take")
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
	running, err := suite.Start(ctx, suite.Options{FunctionEnv: env, Dir: *logs, Progress: printer.Progress})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // an act would wait in vain for what a process that has ended was to do
		select {
		case err := <-running.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	report, err := play(ctx, running, printer, *patience)
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

func play(ctx context.Context, running *suite.Suite, printer *demo.Printer, patience time.Duration) (*demo.Report, error) {
	settings := running.Config()
	client, err := firestore.NewClientWithDatabase(ctx, settings.Project, settings.Database,
		option.WithEndpoint(running.Addresses().Firestore),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, fmt.Errorf("connect to the Firestore emulator: %w", err)
	}
	system := demo.System{
		Relay:      running.Addresses().Relay,
		Firestore:  client,
		Deliveries: settings.Collections.Deliveries,
		Patience:   patience,
	}
	report, err := demo.Play(ctx, system, printer)
	return report, errors.Join(err, client.Close())
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
