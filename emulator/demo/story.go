package demo

import (
	"fmt"
	"io"
	"time"
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

// actLog tells one act, step by step.
type actLog struct {
	title    string
	ok       bool
	promises int           // seen
	clocked  time.Time     // since when steps are timed
	last     time.Duration // when the last of them happened

	*Printer
}

func (p *Printer) begin(title string) *actLog {
	p.printf("\n%s\n\n", p.paint(bold, title))
	return &actLog{title: title, Printer: p}
}

// clock tells a step from which the following ones are timed.
func (l *actLog) clock(format string, args ...any) {
	l.clocked, l.last = time.Now(), 0
	l.at(l.clocked, format, args...)
}

// say tells a step that nobody waits for.
func (l *actLog) say(format string, args ...any) { l.step(dim, "", format, args...) }

// at tells a step that happened at t.
func (l *actLog) at(t time.Time, format string, args ...any) {
	after := t.Sub(l.clocked)
	l.last = max(l.last, after)
	l.step(dim, fmt.Sprintf("+%.1f ms", millis(after)), format, args...)
}

// saw tells that a promise was kept.
func (l *actLog) saw(format string, args ...any) {
	l.promises++
	l.step(green, "✓", format, args...)
}

func (l *actLog) fail(err error) { l.step(red, "✗", "%v", err) }

// step prints what stands left of a step, the time since the request or a mark, and the step.
func (l *actLog) step(style, left, format string, args ...any) {
	l.printf("%s %s\n", l.paint(style, fmt.Sprintf("%13s", left)), fmt.Sprintf(format, args...))
}

// summary tells how the acts went, of which some may not have been played, and reports whether everything promised was seen.
func (p *Printer) summary(played []*actLog, wanted int, took time.Duration) bool {
	p.printf("\n%s\n\n", p.paint(bold, "Summary"))
	passed, promises := 0, 0
	for _, log := range played {
		mark, end := p.paint(red, "✗"), "failed"
		if log.ok {
			mark, end = p.paint(green, "✓"), fmt.Sprintf("%.0f ms", millis(log.last))
			passed++
		}
		promises += log.promises
		p.printf("  %s %-52s %8s\n", mark, log.title, end)
	}
	verdict := p.paint(green, "Everything promised was seen")
	if passed < wanted {
		verdict = p.paint(red, "Not everything promised was seen")
	}
	p.printf("\n  %s: %d of %d acts, %d promises, in %.1f s.\n", verdict, passed, wanted, promises, took.Seconds())
	return passed == wanted
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
