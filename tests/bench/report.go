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

// report is what a run has measured.
type report struct {
	run      string // when, where and how, in one line
	tables   []*table
	targets  table
	missed   []string // targets
	pictures []*picture
}

// table is one subject.
type table struct {
	title   string
	columns []string
	rows    []row
	notes   string
}

// row is one thing that was measured. The remark is printed behind its values.
type row struct {
	name   string
	values []float64
	remark string
}

func newReport(short bool, only string) *report {
	size, command := "full run", "go run ./tests/bench"
	if short {
		size, command = "SHORT run, whose times mean nothing", command+" -short"
	}
	if only != sectionIDs() {
		command += " -only " + only
	}
	load, _ := os.ReadFile("/proc/loadavg") // Linux only; elsewhere it stays empty
	before, _, _ := strings.Cut(string(load), " ")
	return &report{
		run: fmt.Sprintf("%s, %d CPUs, load before %s, %s: %s",
			time.Now().Format(time.DateOnly), runtime.NumCPU(), before, size, command),
		targets: table{title: "Targets", columns: []string{"measured", "aim"}},
	}
}

func (r *report) table(title string, columns ...string) *table {
	t := &table{title: title, columns: columns}
	r.tables = append(r.tables, t)
	return t
}

func (t *table) add(name string, values ...float64) { t.rows = append(t.rows, row{name, values, ""}) }

func (t *table) note(format string, args ...any) { t.notes += fmt.Sprintf("  "+format+"\n", args...) }

// atMost and atLeast record a target.
func (r *report) atMost(what string, measured, aim float64) {
	r.target(what, measured, aim, measured <= aim)
}
func (r *report) atLeast(what string, measured, aim float64) {
	r.target(what, measured, aim, measured >= aim)
}

func (r *report) target(what string, measured, aim float64, met bool) {
	mark := "met"
	if !met {
		mark, r.missed = "NOT MET", append(r.missed, what)
	}
	r.targets.rows = append(r.targets.rows, row{what, []float64{measured, aim}, mark})
}

// print writes the report for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.run)
	for _, t := range append(r.tables, &r.targets) {
		width := 0
		for _, row := range t.rows {
			width = max(width, len(row.name))
		}
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(tab, "\n%s\n\n  %*s\t%s\t\n", t.title, width, "", strings.Join(t.columns, "\t"))
		for _, row := range t.rows {
			fmt.Fprintf(tab, "  %-*s\t", width, row.name) // aligned to the left by itself
			for _, v := range row.values {
				fmt.Fprint(tab, figure(v), "\t")
			}
			fmt.Fprintln(tab, "  "+row.remark)
		}
		_ = tab.Flush()
		fmt.Fprint(w, t.notes)
	}
}

// figure writes about three significant digits.
func figure(v float64) string {
	switch abs := math.Abs(v); {
	case v == math.Trunc(v) || abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
