// Command operate looks after a deployment, or after the local suite, whichever the environment names: it reads the same
// settings as the functions.
//
//	go run ./terraform/operate stock -owner KEY     what an owner has in stock
//	go run ./terraform/operate deadletters          what could not be delivered; -replay tries again
//	go run ./terraform/operate mode off             stop everything within 10 s; observe stops the rest, clear ends it
package main

import (
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

var subcommands = []command.Subcommand{
	{Name: "stock", Summary: "show how many KeyPackages an owner has and how many were handed out, per ciphersuite", Run: stock},
	{Name: "deadletters", Summary: "list the messages that could not be delivered; -replay tries again", Run: handleDeadLetters},
	{Name: "mode", Summary: "stop claims and deliveries without a deployment: off, observe; clear: what ROLLOUT_MODE says", Run: mode},
}

func main() { command.Main("operate", command.Choose("./terraform/operate", subcommands)) }

// inProject is os.LookupEnv with a project. On the emulator one need not be named.
func inProject(project string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		switch {
		case name != config.Project:
		case project != "":
			return project, true
		case value == "" && os.Getenv("FIRESTORE_EMULATOR_HOST") != "":
			return command.LocalProject, true
		}
		return value, ok
	}
}
