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
	"errors"
	"flag"
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

var subcommands = []command.Subcommand{
	{Name: "stock", Summary: "show how many KeyPackages an owner has and how many were handed out, per ciphersuite", Run: stock},
	{Name: "import", Summary: "take the KeyPackages that owners have on a relay into stock", Run: importStock},
	{Name: "trace", Summary: "show what became of a request, and say what to do", Run: traceRequest},
	{Name: "deadletters", Summary: "list the messages that could not be delivered; -replay tries again", Run: handleDeadLetters},
	{Name: "mode", Summary: "stop claims and deliveries without a deployment: off, observe; clear: what ROLLOUT_MODE says", Run: mode},
}

func main() { command.Main("operate", command.Choose("./terraform/operate", subcommands)) }

const emulatorHost = "FIRESTORE_EMULATOR_HOST"

func projectFlag(flags *flag.FlagSet) *string {
	return flags.String("project", "", "project `id` (default: $"+config.Project+", or that of `up` if "+emulatorHost+" is set)")
}

// load reads the settings as the functions do, but says how a project is named here.
func load(project string) (config.Config, error) {
	lookup := inProject(project)
	if id, _ := lookup(config.Project); id == "" {
		return config.Config{}, errors.New("which project? name it with -project or $" + config.Project +
			", or set " + emulatorHost + " to the Firestore emulator of `go run ./emulator up` (127.0.0.1:8080 as a rule)")
	}
	return config.Load(lookup)
}

// inProject is os.LookupEnv with a project. On the emulator one need not be named.
func inProject(project string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		switch {
		case name != config.Project:
		case project != "":
			return project, true
		case value == "" && os.Getenv(emulatorHost) != "":
			return command.LocalProject, true
		}
		return value, ok
	}
}
