package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Report is what a soak has come to. Its JSON form is for machines.
type Report struct {
	OK      bool    `json:"ok"` // there were requests, no promise was broken, nothing was lost, nothing leaked
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"` // load and settling

	KeyPackages int                        `json:"keypackages"` // uploaded
	Requests    int                        `json:"requests"`
	Outcomes    map[keypackage.Outcome]int `json:"outcomes"`

	Deliveries  int            `json:"deliveries"`
	Delivered   int            `json:"delivered"`
	Returned    int            `json:"returned"` // expired, the package is in stock again
	Reserves    int            `json:"reserves"` // expired, the package never left the stock
	Burned      map[string]int `json:"burned"`   // expired, by reason: nobody gets the package any more
	Deliverable int            `json:"deliverable"`
	Completed   int            `json:"completed"` // of these

	Received   int  `json:"received"`   // by requesters
	Duplicates int  `json:"duplicates"` // of these: the same delivery once more
	Unread     int  `json:"unread"`     // written by the relay into a session that ended before they were read
	Lost       Lost `json:"lost"`

	Delay Delay `json:"delay_ms"`

	Faults   map[string]int `json:"faults"`
	Troubles int            `json:"troubles"` // errors that clients saw, and overcame

	Violations []string `json:"violations"`
	Leaks      []string `json:"leaks"` // log files with content, secrets or tokens
	LogBytes   int      `json:"log_bytes"`

	delays []time.Duration
}

// Lost is what ended in no way that was promised.
type Lost struct {
	Requests    int `json:"requests"`    // without an outcome
	Deliveries  int `json:"deliveries"`  // neither delivered nor expired
	KeyPackages int `json:"keypackages"` // gone, and nobody had them
}

func (l Lost) sum() int { return l.Requests + l.Deliveries + l.KeyPackages }

// Delay is the time, in milliseconds, from when a delivery could arrive (it was asked for, and the session was open) to when
// it did.
type Delay struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Worst  float64 `json:"worst"`
}

func newReport(opts Options, h *history, took time.Duration) *Report {
	return &Report{
		Seed: opts.Seed, Seconds: took.Seconds(), KeyPackages: len(h.uploads), Outcomes: make(map[keypackage.Outcome]int),
		Burned: make(map[string]int), Faults: maps.Clone(h.faults), Troubles: h.troubles,
		Violations: []string{}, Leaks: []string{},
	}
}

func (r *Report) finish() {
	slices.Sort(r.delays)
	at := func(part float64) float64 {
		if len(r.delays) == 0 {
			return 0
		}
		d := r.delays[int(part*float64(len(r.delays)-1))]
		return float64(d.Microseconds()) / 1000
	}
	r.Delay = Delay{at(0.5), at(0.99), at(1)}
	r.OK = r.Requests > 0 && len(r.Violations) == 0 && len(r.Leaks) == 0 && r.Lost.sum() == 0
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what string, value any, notes ...string) {
		fmt.Fprintf(table, "  %s\t%v\t%s\n", what, value, strings.Join(notes, ", "))
	}
	row("seed", r.Seed, fmt.Sprintf("%.0f s with settling", r.Seconds))
	row("KeyPackages uploaded", r.KeyPackages)
	row("requests", r.Requests, counts(r.Outcomes)...)
	row("deliveries", r.Deliveries)
	row("  delivered", r.Delivered)
	row("  returned to stock", r.Returned, "expired unseen")
	row("  reserves expired", r.Reserves, "never left the stock")
	row("  burned", sum(r.Burned), counts(r.Burned)...)
	row("deliverable", r.Deliverable, fmt.Sprintf("%.2f %% of them delivered", percent(r.Completed, r.Deliverable)))
	row("received by clients", r.Received)
	row("  duplicates", r.Duplicates)
	row("  unread", r.Unread, "written when the session was ending")
	row("delay", fmt.Sprintf("%.0f ms", r.Delay.Median), fmt.Sprintf("99 %%: %.0f ms", r.Delay.P99), fmt.Sprintf("worst: %.0f ms", r.Delay.Worst))
	row("faults", sum(r.Faults), fmt.Sprintf("clients saw %d errors", r.Troubles))
	for _, fault := range counts(r.Faults) {
		row("", "", fault)
	}
	row("lost", r.Lost.sum(), fmt.Sprintf("requests %d", r.Lost.Requests), fmt.Sprintf("deliveries %d", r.Lost.Deliveries), fmt.Sprintf("KeyPackages %d", r.Lost.KeyPackages))
	row("leaks in logs", len(r.Leaks), fmt.Sprintf("%.1f MB searched", float64(r.LogBytes)/1e6))
	row("violations", len(r.Violations))
	_ = table.Flush()
	for _, what := range append(r.Violations, r.Leaks...) {
		fmt.Fprintln(w, "  ✗", what)
	}
}

// counts lists a map's entries by name.
func counts[K ~string](m map[K]int) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %d", name, m[name]))
	}
	return list
}

func sum[K ~string](m map[K]int) (total int) {
	for _, n := range m {
		total += n
	}
	return total
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}
