// Command emulator runs the whole system on one machine, on Google's official emulators.
//
//	go run ./emulator demo         see KeyPackages delivered: the main job, in all ways, and three harder cases
//	go run ./emulator up           start everything on fixed ports and leave it running
package main

import (
	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

var subcommands = []command.Subcommand{
	{Name: "demo", Summary: "play the main job, in all ways, and three harder cases, and check what was promised", Run: playDemo},
	{Name: "up", Summary: "start everything on fixed ports and leave it running", Run: up},
}

func main() {
	suite.Serve()
	command.Main("emulator", command.Choose("./emulator", subcommands))
}
