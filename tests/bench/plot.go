package main

import (
	"fmt"
	"image/color"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// picture is a bar chart: a bar for each series in each group, in the order in which they were set.
type picture struct {
	name, title, unit string
	groups, series    []string
	values            map[[2]string]float64 // by group and series
}

func (r *report) picture(name, title, unit string) *picture {
	p := &picture{name: name, title: title, unit: unit, values: make(map[[2]string]float64)}
	r.pictures = append(r.pictures, p)
	return p
}

func (p *picture) set(group, series string, value float64) {
	if !slices.Contains(p.groups, group) {
		p.groups = append(p.groups, group)
	}
	if !slices.Contains(p.series, series) {
		p.series = append(p.series, series)
	}
	p.values[[2]string{group, series}] = value
}

// colours can be told from a white page and from a black one, and from each other by lightness alone; ink is that of text.
var (
	ink     = color.Gray{0x80}
	colours = []color.Color{
		color.RGBA{0x1f, 0x6f, 0xb4, 0xff}, color.RGBA{0xe0, 0x8a, 0x1e, 0xff}, color.RGBA{0x2a, 0x9d, 0x5c, 0xff},
		color.RGBA{0x9a, 0x60, 0xb4, 0xff}, color.RGBA{0xd0, 0x4a, 0x4a, 0xff},
	}
)

// Sizes in points. The bars of a group take barsPerGroup of its share of the width.
const (
	width, height = 820, 330
	barsPerGroup  = 0.8
)

// draw writes each picture as an SVG into the directory, named under it the run from which its figures come.
func (r *report) draw(dir string) error {
	for _, p := range r.pictures {
		on := plot.New()
		on.BackgroundColor = color.Transparent
		on.Title.Text, on.Y.Label.Text, on.X.Label.Text = p.title, p.unit, "\n"+r.run
		for _, style := range []*text.Style{
			&on.Title.TextStyle, &on.X.Label.TextStyle, &on.Y.Label.TextStyle, &on.X.Tick.Label, &on.Y.Tick.Label, &on.Legend.TextStyle,
		} {
			*style = inked(*style, 10)
		}
		on.X.Color, on.Y.Color, on.Y.Tick.Color = ink, ink, ink
		on.Legend.Top, on.Legend.Padding = true, 2
		for i := range p.series {
			if err := p.bars(on, i); err != nil {
				return fmt.Errorf("draw %s: %w", p.name, err)
			}
		}
		on.NominalX(p.groups...)
		on.X.Min, on.X.Max = -0.5, float64(len(p.groups))-0.5
		on.Y.Min, on.Y.Max = 0, on.Y.Max*1.4 // room for the legend
		if err := on.Save(width, height, filepath.Join(dir, p.name+".svg")); err != nil {
			return fmt.Errorf("draw %s: %w", p.name, err)
		}
	}
	return nil
}

func inked(style text.Style, size vg.Length) text.Style {
	style.Color, style.Font.Variant, style.Font.Size = ink, "Sans", size
	return style
}

// bars draws one series, with its figures above.
func (p *picture) bars(on *plot.Plot, series int) error {
	values, labels := make(plotter.Values, len(p.groups)), plotter.XYLabels{}
	for i, group := range p.groups {
		value, measured := p.values[[2]string{group, p.series[series]}]
		if values[i] = value; measured {
			labels.XYs = append(labels.XYs, plotter.XY{X: float64(i), Y: value})
			labels.Labels = append(labels.Labels, figure(value))
		}
	}
	bar := vg.Length(width * barsPerGroup / float64(len(p.groups)*len(p.series)))
	chart, err := plotter.NewBarChart(values, bar)
	if err != nil {
		return err
	}
	chart.Color, chart.LineStyle.Width = colours[series%len(colours)], 0
	chart.Offset = bar * vg.Length(float64(series)-float64(len(p.series)-1)/2)
	figures, err := plotter.NewLabels(labels)
	if err != nil {
		return err
	}
	figures.Offset = vg.Point{X: chart.Offset - bar/3, Y: 2}
	for i, style := range figures.TextStyle {
		figures.TextStyle[i] = inked(style, 8)
	}
	on.Add(chart, figures)
	on.Legend.Add(p.series[series], chart)
	return nil
}
