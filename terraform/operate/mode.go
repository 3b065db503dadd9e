package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// mode turns the switch that makes the mode of all running processes more careful than their setting.
func mode(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("mode", flag.ContinueOnError)
	project := flags.String("project", "", "project `id` (default: $"+config.Project+", or that of `up` if FIRESTORE_EMULATOR_HOST is set)")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: go run ./terraform/operate mode [-project id] off|observe|clear")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	word := flags.Arg(0)
	if flags.NArg() != 1 || (word != string(keypackage.ModeOff) && word != string(keypackage.ModeObserve) && word != "clear") {
		flags.Usage()
		return flag.ErrHelp
	}
	settings, err := config.Load(inProject(*project))
	if err != nil {
		return err
	}
	return turn(ctx, settings, word)
}

func turn(ctx context.Context, settings config.Config, word string) error {
	documents, err := assembly.Store(ctx, settings)
	if err != nil {
		return err
	}
	if word == "clear" {
		err = documents.ClearMode(ctx)
	} else {
		err = documents.SetMode(ctx, keypackage.Mode(word))
	}
	if err != nil {
		return err
	}
	said := "the mode is " + word + ", unless ROLLOUT_MODE is more careful"
	if word == "clear" {
		said = "the mode is what ROLLOUT_MODE says"
	}
	_, err = fmt.Fprintln(os.Stdout, said+"; every process knows within 10 s")
	return err
}
