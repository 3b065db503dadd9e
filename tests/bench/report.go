package main

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// report is what a run has measured.
type report struct {
	run     string // when, where and how, in one line
	tables  []*table
	targets table
}

// table is one subject. It may be drawn, too, as a bar chart with a bar for each column in each row.
type table struct {
	title      string
	columns    []string
	rows       []row
	notes      string
	file, unit string // of the picture; none if there is no file
}

// row is one thing that was measured. The remark is printed behind its values.
type row struct {
	name   string
	values []float64
	remark string
}

// newReport is of a run with these arguments.
func newReport(short bool, args ...string) *report {
	size := "full run"
	if short {
		size = "SHORT run, whose times mean nothing"
	}
	load, _ := os.ReadFile("/proc/loadavg") // Linux only; elsewhere it stays empty
	before, _, _ := strings.Cut(string(load), " ")
	run := fmt.Sprintf("%s, %d CPUs, load before %s, %s: %s", time.Now().Format(time.DateOnly), runtime.NumCPU(), before, size,
		strings.Join(append([]string{"go run ./tests/bench"}, args...), " "))
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
	mark := "NOT MET" // also by NaN
	if measured <= aim {
		mark = "met"
	}
	r.targets.rows = append(r.targets.rows, row{what, []float64{measured, aim}, mark})
}

// print writes the report for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.run)
	for _, t := range append(r.tables, &r.targets) {
		width := 0 // of the names, which are aligned to the left by themselves
		for _, row := range t.rows {
			width = max(width, len(row.name))
		}
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(tab, "\n%s\n\n%*s\t%s\t\n", t.title, width, "", strings.Join(t.columns, "\t"))
		for _, row := range t.rows {
			fmt.Fprintf(tab, "%-*s\t", width, row.name)
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
	case math.IsNaN(v):
		return "-"
	case v == math.Trunc(v) || abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// sample is durations that were measured for one thing.
type sample []time.Duration

// quantile returns the smallest duration that is at least as long as that share of the sample, in milliseconds; NaN of none.
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

// colours, one a column, can be told from a white page and from a black one, and from each other by lightness alone.
var colours = []color.RGBA{
	{0x1f, 0x6f, 0xb4, 0xff}, {0xe0, 0x8a, 0x1e, 0xff}, {0x2a, 0x9d, 0x5c, 0xff}, {0x9a, 0x60, 0xb4, 0xff}, {0xd0, 0x4a, 0x4a, 0xff},
}

// Sizes in points. The bars of a row take barsPerRow of its share of the width.
const width, height, barsPerRow = 820, 330, 0.8

// draw writes each table that is drawn as an SVG into the directory, named under it the run from which its figures come.
func (r *report) draw(dir string) error {
	for _, t := range r.tables {
		if t.file == "" {
			continue
		}
		if err := t.chart(r.run).Save(width, height, filepath.Join(dir, t.file)); err != nil {
			return fmt.Errorf("draw %s: %w", t.file, err)
		}
	}
	return nil
}

// chart draws a table with its figures.
func (t *table) chart(run string) *plot.Plot {
	p, ink := plot.New(), color.Gray{0x80}
	p.BackgroundColor = color.Transparent
	p.Title.Text, p.Y.Label.Text, p.X.Label.Text = t.title, t.unit, "\n"+run
	p.X.Color, p.Y.Color, p.Y.Tick.Color = ink, ink, ink
	p.Legend.Top, p.Legend.Padding = true, 2
	inked := func(style *text.Style, size vg.Length) {
		style.Color, style.Font.Variant, style.Font.Size = ink, "Sans", size
	}
	for _, style := range []*text.Style{
		&p.Title.TextStyle, &p.Legend.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label,
	} {
		inked(style, 10)
	}
	names := make([]string, len(t.rows))
	bar := vg.Length(width * barsPerRow / float64(len(t.rows)*len(t.columns)))
	for i, column := range t.columns {
		bars := &plotter.BarChart{Values: make(plotter.Values, len(t.rows)), Width: bar, Color: colours[i]}
		bars.Offset = bar * vg.Length(float64(i)-float64(len(t.columns)-1)/2)
		figures := &plotter.Labels{Offset: vg.Point{X: bars.Offset - bar/3, Y: 2}}
		style := p.Legend.TextStyle
		inked(&style, 8)
		for x, row := range t.rows {
			names[x] = row.name
			if v := row.values[i]; !math.IsNaN(v) {
				bars.Values[x] = v
				figures.XYs, figures.Labels = append(figures.XYs, plotter.XY{X: float64(x), Y: v}), append(figures.Labels, figure(v))
				figures.TextStyle = append(figures.TextStyle, style)
			}
		}
		p.Add(bars, figures)
		p.Legend.Add(column, bars)
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(t.rows))-0.5
	p.Y.Min, p.Y.Max = 0, p.Y.Max*1.4 // room for the legend
	return p
}
