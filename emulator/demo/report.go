package demo

import (
	"fmt"
	"time"
)

// Report is what the demo has shown. Its JSON form is for machines.
type Report struct {
	OK       bool      `json:"ok"`       // everything promised was seen
	Promises int       `json:"promises"` // how many were seen
	Seconds  float64   `json:"seconds"`
	Acts     []*actLog `json:"acts"`

	printer *Printer
	begun   time.Time
}

// actLog is one act of the report.
type actLog struct {
	Title string `json:"title"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Steps []step `json:"steps"`

	report  *Report
	clocked time.Time // since when steps are timed
}

// step is one thing that happened.
type step struct {
	Text    string   `json:"text"`
	Millis  *float64 `json:"ms,omitempty"`      // since the request, or since the requester came back
	Promise bool     `json:"promise,omitempty"` // something promised was seen
}

func (r *Report) begin(title string) *actLog {
	log := &actLog{Title: title, report: r}
	r.Acts = append(r.Acts, log)
	r.printer.title(title)
	return log
}

func (r *Report) end(wanted int) {
	passed := 0
	for _, log := range r.Acts {
		if log.OK {
			passed++
		}
	}
	r.OK = passed == wanted
	r.Seconds = time.Since(r.begun).Seconds()
	r.printer.summary(r, passed, wanted)
}

// clock records a step from which the following ones are timed.
func (l *actLog) clock(format string, args ...any) {
	l.clocked = time.Now()
	l.at(l.clocked, format, args...)
}

// say records a step that nobody waits for.
func (l *actLog) say(format string, args ...any) {
	l.add(step{Text: fmt.Sprintf(format, args...)})
}

// at records a step that happened at t.
func (l *actLog) at(t time.Time, format string, args ...any) {
	millis := float64(t.Sub(l.clocked).Microseconds()) / 1000
	l.add(step{Text: fmt.Sprintf(format, args...), Millis: &millis})
}

// saw records that a promise was kept.
func (l *actLog) saw(format string, args ...any) {
	l.add(step{Text: fmt.Sprintf(format, args...), Promise: true})
}

func (l *actLog) add(s step) {
	l.Steps = append(l.Steps, s)
	if s.Promise {
		l.report.Promises++
	}
	l.report.printer.step(s)
}

func (l *actLog) fail(err error) {
	l.Error = err.Error()
	l.report.printer.failure(err)
}
