package demo

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

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

// say tells a step that nobody waits for.
func (a *act) say(format string, args ...any) { a.write(dim, "", format, args...) }

// at tells a step that happened at t.
func (a *act) at(t time.Time, format string, args ...any) {
	after := t.Sub(a.clocked)
	a.last = max(a.last, after)
	a.write(dim, fmt.Sprintf("+%.1f ms", millis(after)), format, args...)
}

// arrival is what comes to a requester.
type arrival struct {
	at   time.Time
	text string
}

// tell tells what was received, and what came at the end, if it did, in the order in which it came.
func (a *act) tell(name string, received []actors.KeyPackage, end arrival) {
	arrivals := []arrival{end}
	for _, k := range received {
		arrivals = append(arrivals, arrival{k.At, "receives KeyPackage " + k.Event.ID[:8] + "…"})
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return a.at.Compare(b.at) })
	for _, arrival := range arrivals {
		if !arrival.at.IsZero() {
			a.at(arrival.at, "%s %s", name, arrival.text)
		}
	}
}

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
