// Package demo plays the main job of KeyPackage delivery, in each way in which it can be done, and three harder cases, with real
// MLS KeyPackages over real websockets, and checks every promise that its audience can see.
package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// System is the running system that the demo is played on.
type System struct {
	Relay    string        // websocket URL
	Store    *store.Store  // to look at the state of deliveries; the demo writes nothing
	Patience time.Duration // how long an act may take
}

// script is an act as it is written: the owner stocks up and goes offline, each requester takes each step, and the owner comes
// back.
type script struct {
	title      string
	functions  bool // by the functions alone, not by the gateway
	owner      string
	stocked    int // KeyPackages that the owner publishes
	requesters []string
	wanted     int // KeyPackages by each requester
	steps      []step
}

type step func(*requester, context.Context) error

var (
	alice    = []string{"Alice"}
	answered = []step{(*requester).Connect, (*requester).listen, (*requester).ask, (*requester).receive}
	recorded = append(slices.Clip(answered), (*requester).awaitRecord)

	acts = []script{
		{"Alice reads Bob's KeyPackages, as any client does", false, "Bob", 3, alice, 1, []step{(*requester).Connect, (*requester).read}},
		{"Alice adds Bob to a group while he is offline", false, "Bob", 5, alice, 3, recorded},
		{"Alice asks, loses her connection, and comes back", false, "Carol", 3, alice, 2, []step{
			(*requester).Connect, (*requester).ask, (*requester).loseConnection, (*requester).Connect, (*requester).comeBack, (*requester).receive,
		}},
		{"Two strangers want Dave's last KeyPackage", false, "Dave", 1, []string{"Frank", "Grace"}, 1, answered},
		{"Erin has never published a KeyPackage", false, "Erin", 0, alice, 1, answered},
		{"Alice adds Bob, by the three functions alone", true, "Bob", 5, alice, 3, recorded},
	}
)

// Play plays the acts until one fails, tells what happens while it happens, and reports whether everything promised was seen: in
// one system the gateway serves requests, in the other the functions alone do. If ctx ends it stops and returns the cause: what
// the act did not see then says nothing about the system.
func Play(ctx context.Context, gateway, functions System, printer *Printer) (ok bool, err error) {
	begun := time.Now()
	var played []*act
	for i, script := range acts {
		script.title = fmt.Sprintf("%d. %s", i+1, script.title)
		a := &act{script: script, System: gateway, Printer: printer}
		if script.functions {
			a.System = functions
		}
		played = append(played, a)
		a.heading(a.title)
		err := a.perform(ctx)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil {
			a.fail(err)
			break
		}
		a.ok = true
	}
	return printer.summary(played, len(acts), time.Since(begun)), nil
}

// act is an act that is being played, or was.
type act struct {
	script
	System
	*Printer

	key       actors.Key     // the owner's
	published []*nostr.Event // by the owner, in the order in which they are to be handed out
	cast      []*requester

	ok       bool
	promises int           // seen
	clocked  time.Time     // since when steps are timed
	last     time.Duration // when the last of them happened
}

func (a *act) perform(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("gave up after %v", a.Patience))
	defer cancel()
	a.key = actors.NewKey()
	if err := a.byOwner(ctx, a.stockUp); err != nil {
		return err
	}
	for _, name := range a.requesters {
		r := &requester{act: a, Requester: actors.NewRequester(a.Relay, actors.NewKey()), name: name}
		context.AfterFunc(ctx, r.Disconnect)
		a.cast = append(a.cast, r)
	}
	for _, take := range a.steps {
		for _, r := range a.cast {
			if err := take(r, ctx); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	return a.byOwner(ctx, a.compareStock)
}

// Printer tells the story while it happens.
type Printer struct {
	out   io.Writer
	color bool
}

// NewPrinter returns a printer. Color is for terminals.
func NewPrinter(out io.Writer, color bool) *Printer { return &Printer{out, color} }

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (p *Printer) paint(style, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *Printer) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }

// Progress tells what is happening before the first act.
func (p *Printer) Progress(text string) {
	p.printf("  %s %s\n", p.paint(dim, "·"), p.paint(dim, text))
}

func (p *Printer) heading(text string) { p.printf("\n%s\n\n", p.paint(bold, text)) }

// clock tells a step from which the following ones are timed.
func (a *act) clock(format string, args ...any) {
	a.clocked, a.last = time.Now(), 0
	a.at(a.clocked, format, args...)
}

// at tells a step that happened at t.
func (a *act) at(t time.Time, format string, args ...any) {
	after := t.Sub(a.clocked)
	a.last = max(a.last, after)
	a.write(dim, fmt.Sprintf("+%.1f ms", millis(after)), format, args...)
}

// say tells a step that nobody waits for.
func (a *act) say(format string, args ...any) { a.write(dim, "", format, args...) }

// saw tells that a promise was kept.
func (a *act) saw(format string, args ...any) {
	a.promises++
	a.write(green, "✓", format, args...)
}

func (a *act) fail(err error) { a.write(red, "✗", "%v", err) }

// write writes what stands left of a step, the time since the request or a mark, and the step.
func (a *act) write(style, left, format string, args ...any) {
	a.printf("%s %s\n", a.paint(style, fmt.Sprintf("%13s", left)), fmt.Sprintf(format, args...))
}

// summary tells how the acts went, of which some may not have been played, and reports whether everything promised was seen.
func (p *Printer) summary(played []*act, wanted int, took time.Duration) bool {
	p.heading("Summary")
	passed, promises := 0, 0
	for _, a := range played {
		mark, end := p.paint(red, "✗"), "failed"
		if a.ok {
			mark, end = p.paint(green, "✓"), fmt.Sprintf("%.0f ms", millis(a.last))
			passed++
		}
		promises += a.promises
		p.printf("  %s %-52s %8s\n", mark, a.title, end)
	}
	verdict := p.paint(green, "Everything promised was seen")
	if passed < wanted {
		verdict = p.paint(red, "Not everything promised was seen")
	}
	p.printf("\n  %s: %d of %d acts, %d promises, in %.1f s.\n", verdict, passed, wanted, promises, took.Seconds())
	return passed == wanted
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
