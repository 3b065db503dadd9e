package main

import (
	"context"
	"errors"
	"flag"
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

// handleDeadLetters lists the messages that could not be delivered, and replays them if told to. It takes its settings from
// the environment, as the functions do, and so works on the local suite or on a real project, whichever the environment
// names.
func handleDeadLetters(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("deadletters", flag.ContinueOnError)
	replay := flags.Bool("replay", false, "publish them to the delivery topic again, and remove them")
	project := projectFlag(flags)
	subscription := flags.String("subscription", "", "`id` of the subscription of the dead letters (default: that of the delivery topic with -dead behind)")
	asJSON := flags.Bool("json", false, "print JSON")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	settings, err := load(*project)
	if err != nil {
		return err
	}
	if *subscription == "" {
		*subscription = settings.DeliveryTopic + "-dead"
	}
	entries, err := Handle(ctx, settings, *subscription, *replay)
	if err != nil && len(entries) == 0 {
		return err
	}
	if *asJSON {
		return errors.Join(err, command.PrintJSON(os.Stdout, entries))
	}
	return errors.Join(err, Print(os.Stdout, entries))
}
