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
	missed  []string // targets
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
	size, command := "full run", strings.Join(append([]string{"go run ./tests/bench"}, args...), " ")
	if short {
		size = "SHORT run, whose times mean nothing"
	}
	load, _ := os.ReadFile("/proc/loadavg") // Linux only; elsewhere it stays empty
	before, _, _ := strings.Cut(string(load), " ")
	day := time.Now().Format(time.DateOnly)
	run := fmt.Sprintf("%s, %d CPUs, load before %s, %s: %s", day, runtime.NumCPU(), before, size, command)
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

// colours, one a column, can be told from a white page and from a black one, and from each other by lightness alone.
var (
	ink     = color.Gray{0x80}
	colours = []color.Color{
		color.RGBA{0x1f, 0x6f, 0xb4, 0xff}, color.RGBA{0xe0, 0x8a, 0x1e, 0xff}, color.RGBA{0x2a, 0x9d, 0x5c, 0xff},
		color.RGBA{0x9a, 0x60, 0xb4, 0xff}, color.RGBA{0xd0, 0x4a, 0x4a, 0xff},
	}
)

// Sizes in points. The bars of a row take barsPerRow of its share of the width.
const width, height, barsPerRow = 820, 330, 0.8

// draw writes each table that is drawn as an SVG into the directory, named under it the run from which its figures come.
func (r *report) draw(dir string) error {
	for _, t := range r.tables {
		if t.file == "" {
			continue
		}
		on := plot.New()
		on.BackgroundColor = color.Transparent
		on.Title.Text, on.Y.Label.Text, on.X.Label.Text = t.title, t.unit, "\n"+r.run
		for _, style := range []*text.Style{
			&on.Title.TextStyle, &on.Legend.TextStyle, &on.X.Label.TextStyle, &on.Y.Label.TextStyle, &on.X.Tick.Label, &on.Y.Tick.Label,
		} {
			*style = inked(*style, 10)
		}
		on.X.Color, on.Y.Color, on.Y.Tick.Color = ink, ink, ink
		on.Legend.Top, on.Legend.Padding = true, 2
		names := make([]string, len(t.rows))
		for i, row := range t.rows {
			names[i] = row.name
		}
		on.NominalX(names...)
		for i := range t.columns {
			if err := t.bars(on, i); err != nil {
				return fmt.Errorf("draw %s: %w", t.file, err)
			}
		}
		on.X.Min, on.X.Max = -0.5, float64(len(t.rows))-0.5
		on.Y.Min, on.Y.Max = 0, on.Y.Max*1.4 // room for the legend
		if err := on.Save(width, height, filepath.Join(dir, t.file)); err != nil {
			return fmt.Errorf("draw %s: %w", t.file, err)
		}
	}
	return nil
}

func inked(style text.Style, size vg.Length) text.Style {
	style.Color, style.Font.Variant, style.Font.Size = ink, "Sans", size
	return style
}

// bars draws one column, with its figures above.
func (t *table) bars(on *plot.Plot, column int) error {
	values, labels := make(plotter.Values, len(t.rows)), plotter.XYLabels{}
	for i, row := range t.rows {
		if v := row.values[column]; !math.IsNaN(v) {
			values[i] = v
			labels.XYs, labels.Labels = append(labels.XYs, plotter.XY{X: float64(i), Y: v}), append(labels.Labels, figure(v))
		}
	}
	bar := vg.Length(width * barsPerRow / float64(len(t.rows)*len(t.columns)))
	chart, err := plotter.NewBarChart(values, bar)
	if err != nil {
		return err
	}
	chart.Color, chart.LineStyle.Width = colours[column], 0
	chart.Offset = bar * vg.Length(float64(column)-float64(len(t.columns)-1)/2)
	figures, err := plotter.NewLabels(labels)
	if err != nil {
		return err
	}
	figures.Offset = vg.Point{X: chart.Offset - bar/3, Y: 2}
	for i, style := range figures.TextStyle {
		figures.TextStyle[i] = inked(style, 8)
	}
	on.Add(chart, figures)
	on.Legend.Add(t.columns[column], chart)
	return nil
}
