// Package child is what the suite runs as processes of their own: the functions, and the relay behind the gateway. They are
// started from the program that runs the suite.
package child

import (
	"context"
	"os"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
)

var processes = map[string]func(ctx context.Context, args []string) error{
	"function": function,
	"upstream": serveUpstream,
}

// Serve turns this program into one of the suite's processes if its arguments say so, and then does not return. A program
// that starts a suite from its own binary calls it first.
func Serve() {
	if len(os.Args) < 2 || processes[os.Args[1]] == nil {
		return
	}
	name := os.Args[1]
	os.Args = os.Args[1:]
	command.Main(name, processes[name])
}
