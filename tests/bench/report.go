package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Report is what a run has measured.
type Report struct {
	Short   bool // times mean nothing
	CPUs    int
	Load    string // of the machine before the run, as /proc/loadavg has it
	Seconds float64
	Tables  []*Table
	Targets []Target
}

// Table is one subject.
type Table struct {
	Title   string
	Columns []string // with units
	Rows    []Row
	Notes   []string
}

// Row holds one value for each column.
type Row struct {
	Name   string
	Values []float64
	Remark string
}

// Target is a figure that was aimed at.
type Target struct {
	What     string
	Aim      float64
	Measured float64
	Met      bool
}

func newReport(short bool) *Report {
	load, _ := os.ReadFile("/proc/loadavg") // Linux only; elsewhere it stays empty
	return &Report{Short: short, CPUs: runtime.NumCPU(), Load: strings.TrimSpace(string(load))}
}

func (r *Report) table(title string, columns ...string) *Table {
	t := &Table{Title: title, Columns: columns}
	r.Tables = append(r.Tables, t)
	return t
}

func (t *Table) add(name string, values ...float64) *Row {
	t.Rows = append(t.Rows, Row{Name: name, Values: values})
	return &t.Rows[len(t.Rows)-1]
}

func (t *Table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// atMost and atLeast record a target.
func (r *Report) atMost(what string, measured, aim float64) {
	r.Targets = append(r.Targets, Target{what, aim, measured, measured <= aim})
}

func (r *Report) atLeast(what string, measured, aim float64) {
	r.Targets = append(r.Targets, Target{what, aim, measured, measured >= aim})
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%d CPUs, load %s, measured in %.0f s\n", r.CPUs, r.Load, r.Seconds)
	if r.Short {
		fmt.Fprintln(w, "SHORT RUN: it shows that the bench works; the times mean nothing.")
	}
	for _, t := range r.Tables {
		t.print(w)
	}
	if len(r.Targets) == 0 {
		return
	}
	fmt.Fprint(w, "\nTargets\n\n")
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "measured\taim\t\t\n")
	for _, t := range r.Targets {
		mark := "met"
		if !t.Met {
			mark = "NOT MET"
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t %s\n", figure(t.Measured), figure(t.Aim), mark, t.What)
	}
	_ = tab.Flush()
}

func (t *Table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n", t.Title)
	width := 0
	for _, row := range t.Rows {
		width = max(width, len(row.Name))
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "  %-*s\t%s\t\n", width, "", strings.Join(t.Columns, "\t"))
	for _, row := range t.Rows {
		fmt.Fprintf(tab, "  %-*s\t", width, row.Name)
		for _, v := range row.Values {
			fmt.Fprintf(tab, "%s\t", figure(v))
		}
		fmt.Fprintf(tab, "  %s\n", row.Remark)
	}
	_ = tab.Flush()
	for _, note := range t.Notes {
		fmt.Fprintf(w, "  %s\n", note)
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
