package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
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
	run := fmt.Sprintf("%s, %d CPUs, load before %s, %s: %s", time.Now().Format(time.DateOnly), runtime.NumCPU(), before, size, command)
	return &report{run: run, targets: table{title: "Targets", columns: []string{"measured", "aim"}}}
}

func (r *report) table(title string, columns ...string) *table {
	t := &table{title: title, columns: columns}
	r.tables = append(r.tables, t)
	return t
}

func (t *table) add(name string, values ...float64) { t.rows = append(t.rows, row{name, values, ""}) }

func (t *table) note(format string, args ...any) { t.notes += fmt.Sprintf("  "+format+"\n", args...) }

// atMost records a target.
func (r *report) atMost(what string, measured, aim float64) {
	mark := "met"
	if !(measured <= aim) {
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
		fmt.Fprintf(tab, "\n%s\n\n%*s\t%s\t\n", t.title, width, "", strings.Join(t.columns, "\t"))
		for _, row := range t.rows {
			fmt.Fprintf(tab, "%-*s\t", width, row.name) // aligned to the left by itself
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

// sample is durations that were measured for one thing.
type sample []time.Duration

// quantile returns the smallest duration that is at least as long as that share of the sample, in milliseconds; NaN of an
// empty sample.
func (s sample) quantile(share float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(share*float64(len(s)))) - 1
	return milliseconds(slices.Sorted(slices.Values(s))[max(i, 0)])
}

// quantiles are the columns of a table of durations, and row their values.
var quantiles = []string{"p50 ms", "p95 ms", "p99 ms", "max ms"}

func (s sample) row() []float64 {
	return []float64{s.quantile(0.5), s.quantile(0.95), s.quantile(0.99), s.quantile(1)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// timed returns how long f took.
func timed(f func() error) (time.Duration, error) {
	begun := time.Now()
	err := f()
	return time.Since(begun), err
}
