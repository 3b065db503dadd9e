package main

import (
	"math"
	"slices"
	"time"
)

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
