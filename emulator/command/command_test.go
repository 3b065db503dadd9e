package command

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"testing"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	failed := errors.New("no such project")
	for name, test := range map[string]struct {
		err         error
		interrupted bool
		code        int
		said        string
	}{
		"done":                       {nil, false, 0, ""},
		"wrong arguments":            {flag.ErrHelp, false, 2, ""},
		"failed":                     {failed, false, 1, "p: no such project\n"},
		"interrupted":                {failed, true, 1, "p: stopped\n"},
		"interrupted, and done well": {nil, true, 0, ""},
	} {
		var said bytes.Buffer
		if code := exitCode(&said, "p", test.err, test.interrupted); code != test.code || said.String() != test.said {
			t.Errorf("%s: %d and %q, want %d and %q", name, code, said.String(), test.code, test.said)
		}
	}
}

func TestParseRefusesWhatItWouldIgnore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		good bool
	}{
		{[]string{"-n", "3"}, true},
		{[]string{"hello"}, false},
		{[]string{"-n", "3", "hello"}, false},
		{[]string{"-unknown"}, false},
	} {
		flags := flag.NewFlagSet("p", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Int("n", 0, "")
		if err := Parse(flags, test.args); (err == nil) != test.good {
			t.Errorf("%q: %v", test.args, err)
		}
	}
}
