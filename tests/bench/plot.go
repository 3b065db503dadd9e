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
	"gonum.org/v1/plot/vg/draw"
)

// picture is a bar chart: a bar for each series in each group, in the order in which they were set.
type picture struct {
	name, title, unit string
	groups, series    []string
	values            map[[2]string]float64 // by group and series
}

func (r *Report) picture(name, title, unit string) *picture {
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

// draw writes each picture as an SVG into the directory, named under it the run from which its figures come.
func (r *Report) draw(dir string) error {
	for _, p := range r.pictures {
		if err := p.draw(filepath.Join(dir, p.name+".svg"), r.run); err != nil {
			return fmt.Errorf("draw %s: %w", p.name, err)
		}
	}
	return nil
}

// ink and colours can be told from a white page and from a black one, and the colours from each other by lightness alone.
var (
	ink     = color.Gray{0x80}
	colours = []color.Color{
		color.RGBA{0x1f, 0x6f, 0xb4, 0xff}, color.RGBA{0xe0, 0x8a, 0x1e, 0xff}, color.RGBA{0x2a, 0x9d, 0x5c, 0xff},
		color.RGBA{0x9a, 0x60, 0xb4, 0xff}, color.RGBA{0xd0, 0x4a, 0x4a, 0xff}, color.RGBA{0x70, 0xc1, 0xd8, 0xff},
	}
)

// Sizes in points. The bars of a group take barsPerGroup of its share of the width.
const (
	width, height = 820, 330
	barsPerGroup  = 0.8
)

func (p *picture) draw(file, run string) error {
	on := plot.New()
	on.BackgroundColor = color.Transparent
	on.Title.Text, on.Y.Label.Text, on.X.Label.Text = p.title, p.unit, "\n"+run
	for _, style := range []*text.Style{
		&on.Title.TextStyle, &on.X.Label.TextStyle, &on.Y.Label.TextStyle, &on.X.Tick.Label, &on.Y.Tick.Label, &on.Legend.TextStyle,
	} {
		style.Color, style.Font.Variant, style.Font.Size = ink, "Sans", 10
	}
	for _, line := range []*draw.LineStyle{&on.X.LineStyle, &on.Y.LineStyle, &on.Y.Tick.LineStyle} {
		line.Color = ink
	}
	on.Legend.Top, on.Legend.Padding = true, 2
	bar := vg.Length(width * barsPerGroup / float64(len(p.groups)*len(p.series)))
	for i, series := range p.series {
		offset := bar * vg.Length(float64(i)-float64(len(p.series)-1)/2)
		if err := p.bars(on, series, bar, offset, colours[i%len(colours)]); err != nil {
			return err
		}
	}
	on.NominalX(p.groups...)
	on.X.Min, on.X.Max = -0.5, float64(len(p.groups))-0.5
	on.Y.Min, on.Y.Max = 0, on.Y.Max*1.4 // room for the legend
	return on.Save(width, height, file)
}

// bars draws one series, with its figures above.
func (p *picture) bars(on *plot.Plot, series string, bar, offset vg.Length, fill color.Color) error {
	values, labels := make(plotter.Values, len(p.groups)), plotter.XYLabels{}
	for i, group := range p.groups {
		value, measured := p.values[[2]string{group, series}]
		if values[i] = value; measured {
			labels.XYs = append(labels.XYs, plotter.XY{X: float64(i), Y: value})
			labels.Labels = append(labels.Labels, figure(value))
		}
	}
	chart, err := plotter.NewBarChart(values, bar)
	if err != nil {
		return err
	}
	chart.Color, chart.Offset, chart.LineStyle.Width = fill, offset, 0
	figures, err := plotter.NewLabels(labels)
	if err != nil {
		return err
	}
	figures.Offset = vg.Point{X: offset - bar/3, Y: 2}
	for i := range figures.TextStyle {
		figures.TextStyle[i].Color, figures.TextStyle[i].Font.Variant, figures.TextStyle[i].Font.Size = ink, "Sans", 8
	}
	on.Add(chart, figures)
	on.Legend.Add(series, chart)
	return nil
}
