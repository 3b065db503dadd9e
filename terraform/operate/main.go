// Command operate looks after a deployment, or after the local suite, whichever the environment names: it reads the same
// settings as the functions.
//
//	go run ./terraform/operate stock -owner KEY         what an owner has in stock
//	go run ./terraform/operate import -from wss://...   take what owners have on a relay today into stock
//	go run ./terraform/operate trace ID                 what became of a request, and what to do
//	go run ./terraform/operate deadletters              what could not be delivered; -replay tries again
//	go run ./terraform/operate mode off                 stop everything within 10 s; observe stops the rest, clear ends it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

var subcommands = []command.Subcommand{
	{Name: "stock", Summary: "show how many KeyPackages an owner has and how many were handed out, per ciphersuite", Run: stock},
	{Name: "import", Summary: "take the KeyPackages that owners have on a relay into stock", Run: importStock},
	{Name: "trace", Summary: "show what became of a request, and say what to do", Run: traceRequest},
	{Name: "deadletters", Summary: "list the messages that could not be delivered; -replay tries again", Run: handleDeadLetters},
	{Name: "mode", Summary: "stop claims and deliveries without a deployment: off, observe; clear: what ROLLOUT_MODE says; show", Run: mode},
}

func main() { command.Main("operate", command.Choose("./terraform/operate", subcommands)) }

const emulatorHost = "FIRESTORE_EMULATOR_HOST"

// queueHost names the Pub/Sub emulator, which only deadletters needs.
const queueHost = "PUBSUB_EMULATOR_HOST"

// options are the flags that all subcommands have; each adds its own.
type options struct {
	*flag.FlagSet
	project string
	json    bool
}

func newOptions(name string) *options {
	o := &options{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	o.StringVar(&o.project, "project", "", "project `id` (default: $"+config.Project+", or that of `up` if "+emulatorHost+" is set)")
	o.BoolVar(&o.json, "json", false, "print JSON")
	return o
}

// word parses the flags and takes one word before or behind them.
func (o *options) word(args []string, what, form string) (string, error) {
	if err := o.Parse(args); err != nil {
		return "", flag.ErrHelp
	}
	if o.NArg() == 0 {
		return "", fmt.Errorf("which %s? go run ./terraform/operate %s <%s>", what, o.Name(), form)
	}
	word := o.Arg(0)
	return word, command.Parse(o.FlagSet, o.Args()[1:])
}

// settings are read as the functions read them, but the error says how a project is named here. On the emulator one need not be
// named.
func (o *options) settings() (config.Config, error) {
	lookup := func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		switch {
		case name != config.Project:
		case o.project != "":
			return o.project, true
		case value == "" && os.Getenv(emulatorHost) != "":
			return command.LocalProject, true
		}
		return value, ok
	}
	if id, _ := lookup(config.Project); id == "" {
		return config.Config{}, errors.New("which project? name it with -project or $" + config.Project +
			", or set " + emulatorHost + " to the Firestore emulator of `go run ./emulator up` (127.0.0.1:8080 as a rule)")
	}
	return config.Load(lookup)
}

func (o *options) documents(ctx context.Context) (*store.Store, error) {
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	return assembly.Store(ctx, settings)
}

// show prints the result on standard output, as JSON or as text.
func (o *options) show(result any, text func(io.Writer) error) error {
	if o.json {
		return command.PrintJSON(os.Stdout, result)
	}
	return text(os.Stdout)
}
