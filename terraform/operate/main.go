// Command operate looks after a deployment, or after the local suite, whichever the environment names: it reads the same settings as
// the functions. Without a command it says what it can do.
//
//	go run ./terraform/operate trace ID
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/command"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

var operate = command.Choose("./terraform/operate", []command.Subcommand{
	subcommand("stock", "show how many KeyPackages an owner has and how many were handed out, per ciphersuite", stock),
	subcommand("import", "take the KeyPackages that owners have on a relay into stock", importStock),
	subcommand("trace", "show what became of a request, and say what to do", traceRequest),
	subcommand("deadletters", "list the messages that could not be delivered; -replay tries again", deadLetters),
	subcommand("mode", "stop claims and deliveries without a deployment: off, observe; clear: what ROLLOUT_MODE says; show", mode),
})

func main() { command.Main("operate", operate) }

func subcommand(name, summary string, run func(context.Context, *options) error) command.Subcommand {
	return command.Subcommand{Name: name, Summary: summary, Run: func(ctx context.Context, args []string) error {
		var o options
		if err := o.parse(name, args); err != nil {
			return err
		}
		if err := o.open(ctx); err != nil {
			return err
		}
		return run(ctx, &o)
	}}
}

const emulatorHost = "FIRESTORE_EMULATOR_HOST"

// options are the arguments of a subcommand, and what they open.
type options struct {
	project, owner, subscription string
	from, authors, keyFile       string
	json, logs, replay, dryRun   bool
	word                         string            // see words
	wanted                       importing.Options // what import is asked for

	settings  config.Config
	documents *store.Store
}

// words are what subcommands take before or behind their flags.
var words = map[string]struct{ what, form string }{
	"trace": {"request", "id of the 447"},
	"mode":  {"mode", "off|observe|clear|show"},
}

func (o *options) parse(name string, args []string) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&o.project, "project", "", "project `id` (default: $"+config.Project+", or that of `up` if "+emulatorHost+" is set)")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	switch name {
	case "stock":
		flags.StringVar(&o.owner, "owner", "", "public `key` of the owner, hex or npub1")
	case "import":
		flags.StringVar(&o.from, "from", "", "`URL` of the relay, wss://...")
		flags.StringVar(&o.authors, "authors", "", "public `keys` of the owners, separated by commas (default: everybody's KeyPackages)")
		flags.StringVar(&o.keyFile, "key-file", "", "`file` with the secret key to authenticate with, for relays that want it")
		flags.BoolVar(&o.dryRun, "dry-run", false, "say how much would be taken in, and take in nothing")
	case "deadletters":
		flags.BoolVar(&o.replay, "replay", false, "publish them to the delivery topic again, and remove them")
		flags.StringVar(&o.subscription, "subscription", "",
			"`id` of the subscription of the dead letters (default: that of the delivery topic with -dead behind)")
	case "trace":
		flags.BoolVar(&o.logs, "logs", false, "print the query for Logs Explorer instead")
	}
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	rest := flags.Args()
	if word, takes := words[name]; takes && len(rest) == 0 {
		return fmt.Errorf("which %s? go run ./terraform/operate %s <%s>", word.what, name, word.form)
	} else if takes {
		o.word, rest = rest[0], rest[1:]
	}
	if err := command.Parse(flags, rest); err != nil {
		return err
	}
	return o.check(name)
}

// check reads what is named: owners, requests, relays, keys.
func (o *options) check(name string) (err error) {
	switch name {
	case "stock":
		if o.owner, err = pubkey(o.owner); err != nil {
			err = fmt.Errorf("-owner: %w", err)
		}
	case "trace":
		o.word, err = eventID(o.word)
	case "import":
		o.wanted, err = importOptions(o.from, o.authors, o.keyFile)
	}
	return err
}

// open reads the settings as the functions do, and connects to Firestore. On the emulator no project need be named.
func (o *options) open(ctx context.Context) (err error) {
	project := cmp.Or(o.project, os.Getenv(config.Project))
	if project == "" && os.Getenv(emulatorHost) != "" {
		project = command.LocalProject
	}
	if project == "" {
		return errors.New("which project? name it with -project or $" + config.Project + ", or set " + emulatorHost +
			" to the Firestore emulator of `go run ./emulator up` (127.0.0.1:8080 as a rule)")
	}
	o.settings, err = config.Load(func(name string) (string, bool) {
		if name == config.Project {
			return project, true
		}
		return os.LookupEnv(name)
	})
	if err == nil {
		o.documents, err = assembly.Store(ctx, o.settings)
	}
	return err
}

// show prints the result on standard output, as JSON or as text.
func (o *options) show(result any, text func(io.Writer)) error {
	if o.json {
		return command.PrintJSON(os.Stdout, result)
	}
	return printText(os.Stdout, text)
}

// printText writes a text whose columns end with tabs.
func printText(w io.Writer, text func(io.Writer)) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	text(table)
	return table.Flush()
}

// decode reads what people pass on: 64 lowercase hex digits, or a name with one of the prefixes (NIP-19). what is for the error.
func decode(text, what string, prefixes ...string) (hex string, err error) {
	if nostr.IsValid32ByteHex(text) {
		return text, nil
	}
	prefix, value, err := nip19.Decode(text)
	if err != nil || !slices.Contains(prefixes, prefix) {
		return "", fmt.Errorf("%q is not %s", text, what)
	}
	if event, is := value.(nostr.EventPointer); is {
		return event.ID, nil
	}
	return value.(string), nil
}

func pubkey(text string) (string, error) {
	return decode(text, "a public key: 64 lowercase hex digits, or npub1", "npub")
}

func eventID(text string) (string, error) {
	return decode(text, "the id of an event: 64 lowercase hex digits, note1 or nevent1", "note", "nevent")
}

// secretKey reads a secret key out of a file. No error says what the file holds.
func secretKey(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-key-file: %w", err)
	}
	secret, err := decode(strings.TrimSpace(string(content)), "", "nsec")
	if err != nil {
		return "", errors.New("-key-file: the file does not hold a secret key: 64 lowercase hex digits, or nsec1")
	}
	return secret, nil
}
