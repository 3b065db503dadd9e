// Package command starts and ends the programs of this repository that people type: Ctrl-C, errors, exit codes, JSON.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// LocalProject is the project id of `go run ./emulator up`, fixed like its ports.
const LocalProject = "keypackage-local"

// Main runs a program and ends the process: 0 if run returns nil, 2 if the arguments could not be read, else 1. The context of run
// ends with Ctrl-C or SIGTERM, and only that is said then. A second Ctrl-C ends the process at once.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:])
	os.Exit(exitCode(os.Stderr, name, err, ctx.Err() != nil))
}

func exitCode(w io.Writer, name string, err error, interrupted bool) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 2
	case interrupted: // what failed because of it means nothing
		err = errors.New("stopped")
	}
	fmt.Fprintln(w, name+":", err)
	return 1
}

// Subcommand is one of the things that a program does. Run gets the arguments behind its name.
type Subcommand struct {
	Name, Summary string
	Run           func(ctx context.Context, args []string) error
}

// Choose returns what a program runs that has subcommands: the one that its first argument names. Without one it says what there is.
func Choose(program string, subcommands []Subcommand) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		for _, c := range subcommands {
			if len(args) > 0 && c.Name == args[0] {
				return c.Run(ctx, args[1:])
			}
		}
		fmt.Fprintf(os.Stderr, "usage: go run %s <command> [flags]     (-h behind a command shows its flags)\n", program)
		for _, c := range subcommands {
			fmt.Fprintf(os.Stderr, "  %-11s %s\n", c.Name, c.Summary)
		}
		return flag.ErrHelp
	}
}

// Parse parses the flags of a program that takes no other arguments. It says what is wrong, and then returns [flag.ErrHelp].
func Parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(flags.Output(), "%s: %q is not a flag; -h shows the flags\n", flags.Name(), flags.Arg(0))
		return flag.ErrHelp
	}
	return nil
}

// PrintJSON prints one indented JSON document.
func PrintJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// Progress shows what is happening; standard output is for results.
func Progress(what string) { fmt.Fprintln(os.Stderr, what) }
