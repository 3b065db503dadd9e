package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run has measured.
type Report struct {
	run      string // when, where and how, in one line
	tables   []*table
	targets  *table
	missed   []string // targets
	pictures []*picture
}

// table is one subject. Each row is a name, a remark that is printed behind it, and values.
type table struct {
	title string
	rows  [][]string
	notes string
}

func newReport(o options) *Report {
	size, command := "full run", "go run ./tests/bench"
	if o.short {
		size, command = "SHORT run, whose times mean nothing", command+" -short"
	}
	if o.only != sectionIDs() {
		command += " -only " + o.only
	}
	load, _ := os.ReadFile("/proc/loadavg") // Linux only; elsewhere it stays empty
	before, _, _ := strings.Cut(string(load), " ")
	r := &Report{targets: &table{title: "Targets"}, run: fmt.Sprintf("%s, %d CPUs, load before %s, %s: %s",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), before, size, command)}
	r.targets.row("", "", "measured", "aim")
	return r
}

func (r *Report) table(title string, columns ...string) *table {
	t := &table{title: title}
	t.row("", "", columns...)
	r.tables = append(r.tables, t)
	return t
}

func (t *table) row(name, remark string, cells ...string) {
	t.rows = append(t.rows, append([]string{name, remark}, cells...))
}

func (t *table) add(name string, values ...float64) {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = figure(v)
	}
	t.row(name, "", cells...)
}

func (t *table) note(format string, args ...any) { t.notes += fmt.Sprintf("  "+format+"\n", args...) }

// atMost and atLeast record a target.
func (r *Report) atMost(what string, measured, aim float64) {
	r.target(what, measured, aim, measured <= aim)
}
func (r *Report) atLeast(what string, measured, aim float64) {
	r.target(what, measured, aim, measured >= aim)
}

func (r *Report) target(what string, measured, aim float64, met bool) {
	mark := "met"
	if !met {
		mark, r.missed = "NOT MET", append(r.missed, what)
	}
	r.targets.row(what, mark, figure(measured), figure(aim))
}

// print writes the report for people.
func (r *Report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.run)
	for _, t := range append(r.tables, r.targets) {
		width := 0
		for _, row := range t.rows {
			width = max(width, len(row[0]))
		}
		fmt.Fprintf(w, "\n%s\n\n", t.title)
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, row := range t.rows {
			fmt.Fprintf(tab, "  %-*s\t%s\n", width, row[0], strings.Join(row[2:], "\t")+"\t  "+row[1])
		}
		_ = tab.Flush()
		fmt.Fprint(w, t.notes)
	}
}

// figure writes about three significant digits.
func figure(v float64) string {
	switch abs := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case v == math.Trunc(v) || abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
