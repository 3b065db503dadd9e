package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a soak has come to.
type Report struct {
	Seed        uint64
	Took        time.Duration  // load and settling
	KeyPackages int            // uploaded
	Requests    int            // that must have an outcome
	Outcomes    map[string]int // of the requests
	Deliveries  map[string]int // by state and reason
	Received    int            // by requesters
	Repeated    int            // of these: the same delivery once more
	Unread      int            // written by the relay into a session that ended before they were read
	Faults      map[string]int
	Troubles    int      // errors that clients saw, and overcame
	LogBytes    int      // that were searched
	Broken      []string // promises
}

// OK reports whether there was anything to see, and every promise was kept.
func (r *Report) OK() bool { return r.Requests > 0 && len(r.Broken) == 0 }

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what string, value any, notes ...string) {
		fmt.Fprintf(table, "  %s\t%v\t%s\n", what, value, strings.Join(notes, ", "))
	}
	row("seed", r.Seed, fmt.Sprintf("%.0f s with settling", r.Took.Seconds()))
	row("KeyPackages uploaded", r.KeyPackages)
	row("requests", r.Requests, counts(r.Outcomes)...)
	row("deliveries", sum(r.Deliveries), counts(r.Deliveries)...)
	row("received", r.Received, fmt.Sprintf("%d of them repeated", r.Repeated))
	row("unread", r.Unread, "written when the session was ending")
	row("errors that clients saw", r.Troubles)
	row("faults", sum(r.Faults))
	for _, fault := range counts(r.Faults) {
		row("", "", fault)
	}
	row("logs searched", fmt.Sprintf("%.1f MB", float64(r.LogBytes)/1e6))
	row("promises broken", len(r.Broken))
	_ = table.Flush()
	for _, what := range r.Broken {
		fmt.Fprintln(w, "  ✗", what)
	}
}

// counts lists a map's entries by name.
func counts(m map[string]int) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %d", name, m[name]))
	}
	return list
}

func sum(m map[string]int) (total int) {
	for _, n := range m {
		total += n
	}
	return total
}

// chunk is the length of the pieces by which content is recognised: whoever logs 63 characters in a row of a content, a
// signature or a secret is caught.
const chunk = 32

// token is how every JWT begins: two objects in base64, of which the first has a quote behind its brace.
var token = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`)

// searchLogs looks through everything that all processes have written for what no log may hold (I9): content of
// KeyPackages, signatures (and so whole events), secret keys and tokens.
func (s *soak) searchLogs(r *Report) error {
	files, err := filepath.Glob(filepath.Join(s.Logs, "*.log"))
	if err != nil {
		return err
	}
	forbidden := s.history.chunks()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r.LogBytes += len(text)
		if what := leak(text, forbidden); what != "" {
			r.Broken = append(r.Broken, fmt.Sprintf("I9: %s holds %s", filepath.Base(file), what))
		}
	}
	if r.LogBytes == 0 {
		return fmt.Errorf("there are no logs in %s", s.Logs)
	}
	return nil
}

// chunks returns what must not be logged, in pieces, and what each is a piece of.
func (h *history) chunks() map[string]string {
	chunks := make(map[string]string)
	add := func(text, what string) {
		for ; len(text) >= chunk; text = text[chunk:] {
			chunks[text[:chunk]] = what
		}
	}
	for _, u := range h.uploads {
		add(u.event.Content, "content of a KeyPackage")
		add(u.event.Sig, "an event's signature")
	}
	for _, secret := range h.secrets {
		add(secret, "a secret key")
	}
	return chunks
}

func leak(text []byte, forbidden map[string]string) string {
	if token.Match(text) {
		return "a token"
	}
	for i := range max(0, len(text)-chunk+1) {
		if what, found := forbidden[string(text[i:i+chunk])]; found {
			return what
		}
	}
	return ""
}
