package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/trace"
)

// traceRequest prints what became of a request. It takes its settings from the environment, as stock does.
func traceRequest(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("trace", flag.ContinueOnError)
	project := projectFlag(flags)
	logs := flags.Bool("logs", false, "print the query for Logs Explorer instead")
	asJSON := flags.Bool("json", false, "print JSON")
	id, err := parseTrace(flags, args)
	if err != nil {
		return err
	}
	settings, err := load(*project)
	if err != nil {
		return err
	}
	documents, err := assembly.Store(ctx, settings)
	if err != nil {
		return err
	}
	history, err := documents.History(ctx, id)
	if err != nil {
		return err
	}
	if *logs {
		_, err := fmt.Println(trace.Query(id, history))
		return err
	}
	t := trace.New(id, history, time.Now())
	if *asJSON {
		return command.PrintJSON(os.Stdout, t)
	}
	return t.Print(os.Stdout)
}

// parseTrace takes the request's id before or behind the flags.
func parseTrace(flags *flag.FlagSet, args []string) (id string, err error) {
	if err := flags.Parse(args); err != nil {
		return "", flag.ErrHelp
	}
	if flags.NArg() == 0 {
		return "", errors.New("which request? go run ./terraform/operate trace <id of the 447>")
	}
	text := flags.Arg(0)
	if err := command.Parse(flags, flags.Args()[1:]); err != nil {
		return "", err
	}
	return eventID(text)
}
