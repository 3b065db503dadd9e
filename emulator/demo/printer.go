package demo

import (
	"fmt"
	"io"
	"strings"
)

// Printer writes the report for people.
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

func (p *Printer) title(text string) { p.printf("\n%s\n\n", p.paint(bold, text)) }

// column is the width of what stands left of a step: the time since the request, or a tick.
const column = 13

func (p *Printer) step(s step) {
	switch {
	case s.Promise:
		p.printf("%s%s %s\n", strings.Repeat(" ", column-1), p.paint(green, "✓"), s.Text)
	case s.Millis != nil:
		p.printf("%s %s\n", p.paint(dim, fmt.Sprintf("%*s", column, fmt.Sprintf("+%.1f ms", *s.Millis))), s.Text)
	default:
		p.printf("%s %s\n", strings.Repeat(" ", column), s.Text)
	}
}

func (p *Printer) failure(err error) {
	p.printf("%s%s %v\n", strings.Repeat(" ", column-1), p.paint(red, "✗"), err)
}

func (p *Printer) summary(r *Report, passed, wanted int) {
	p.printf("\n%s\n\n", p.paint(bold, "Summary"))
	for _, log := range r.Acts {
		mark, end := p.paint(green, "✓"), log.duration()
		if !log.OK {
			mark, end = p.paint(red, "✗"), "failed"
		}
		p.printf("  %s %-52s %8s\n", mark, log.Title, end)
	}
	verdict := p.paint(green, "Everything promised was seen")
	if !r.OK {
		verdict = p.paint(red, "Not everything promised was seen")
	}
	p.printf("\n  %s: %d of %d acts, %d promises, in %.1f s.\n", verdict, passed, wanted, r.Promises, r.Seconds)
}

// duration is when the last of the timed steps happened.
func (l *actLog) duration() string {
	last := 0.0
	for _, s := range l.Steps {
		if s.Millis != nil {
			last = max(last, *s.Millis)
		}
	}
	return fmt.Sprintf("%.0f ms", last)
}
