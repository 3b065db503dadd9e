package main

import (
	"cmp"
	"context"
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

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// Report is what a soak has come to.
type Report struct {
	Seed        uint64
	Took        time.Duration // load and settling
	KeyPackages int           // uploaded
	Outcomes    tally         // of the requests
	Deliveries  tally         // by state and reason
	Received    int           // by requesters
	Repeated    int           // of these: the same delivery once more
	Unread      int           // written by the relay into a session that ended before they were read
	Faults      tally
	Troubles    int      // errors that clients saw, and overcame
	LogBytes    int      // that were searched
	Broken      []string // promises
}

// OK reports whether there was anything to see, and every promise was kept.
func (r *Report) OK() bool { return len(r.Outcomes) > 0 && len(r.Broken) == 0 }

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what string, value any, notes ...string) {
		fmt.Fprintf(table, "  %s\t%v\t%s\n", what, value, strings.Join(notes, ", "))
	}
	row("seed", r.Seed, fmt.Sprintf("%.0f s with settling", r.Took.Seconds()))
	row("KeyPackages uploaded", r.KeyPackages)
	row("requests", r.Outcomes.sum(), r.Outcomes.list()...)
	row("deliveries", r.Deliveries.sum(), r.Deliveries.list()...)
	row("received", r.Received, fmt.Sprintf("%d of them repeated", r.Repeated))
	row("unread", r.Unread, "written when the session was ending")
	row("errors that clients saw", r.Troubles)
	row("faults", r.Faults.sum())
	for _, fault := range r.Faults.list() {
		row("", "", fault)
	}
	row("logs searched", fmt.Sprintf("%.1f MB", float64(r.LogBytes)/1e6))
	row("promises broken", len(r.Broken))
	_ = table.Flush()
	for _, what := range r.Broken {
		fmt.Fprintln(w, "  ✗", what)
	}
}

// tally counts things by name.
type tally map[string]int

func (t tally) list() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		list = append(list, fmt.Sprintf("%s %d", name, t[name]))
	}
	return list
}

func (t tally) sum() (total int) {
	for _, n := range t {
		total += n
	}
	return total
}

// judge compares what happened with what Firestore holds, and with what was promised. It reports whether everything has ended:
// if not, it may yet come right.
func (s *soak) judge(ctx context.Context) (ended bool, err error) {
	state, err := invariants.Load(ctx, s.documents, s.Config().Collections)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.Run
	r := &Report{
		Seed: s.Seed, Took: time.Since(s.begun), KeyPackages: len(run.Uploads), Outcomes: make(tally), Deliveries: make(tally),
		Faults: s.faults, Troubles: s.troubles,
	}
	arrived := make(map[string]bool)
	for _, requester := range s.requesters {
		arrivals, err := requester.AwaitKeyPackages(ctx, 0)
		if err != nil { // something did not verify
			r.Broken = append(r.Broken, fmt.Sprint("I6: ", err))
		}
		for _, received := range attribute(requester.Pubkey, arrivals, state.Deliveries) {
			run.Received = append(run.Received, received)
			if arrived[received.DeliveryID] {
				r.Repeated++
			}
			arrived[received.DeliveryID] = true
		}
	}
	r.Received = len(run.Received)
	for _, answer := range state.Answers {
		r.Outcomes[string(answer.Outcome())]++
	}
	for id, d := range state.Deliveries {
		r.Deliveries[strings.TrimSpace(fmt.Sprint(d.State, " ", d.Reason))]++
		if d.State == keypackage.StateDelivered && !arrived[id] {
			r.Unread++
		}
	}
	ended = true
	for _, v := range invariants.Check(run, state) {
		r.Broken = append(r.Broken, v.String())
		ended = ended && !v.Unfinished
	}
	s.report = r
	return ended, nil
}

// reading is how long a frame may take from the relay's socket to the requester's clock on a busy machine.
const reading = 10 * time.Second

// attribute names the delivery that brought each of a requester's arrivals, since frames do not say it. Several may have brought
// the same reserve, each for another group. So that nothing is called lost as long as what arrived can be explained in any
// way, as many as possible of those that count as delivered get an arrival of their own: each arrival, in order of time, goes
// to the one that ends first and has none, or else to the first that has: then it is a repetition.
func attribute(
	requester string, arrivals []actors.KeyPackage, deliveries map[string]keypackage.Delivery,
) (received []invariants.Received) {
	own := slices.SortedFunc(maps.Values(deliveries), func(a, b keypackage.Delivery) int { // "delivered" comes before "expired"
		return cmp.Or(cmp.Compare(a.State, b.State), a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(arrivals, func(a, b actors.KeyPackage) int { return a.At.Compare(b.At) })
	taken := make(map[string]bool)
	for _, a := range arrivals {
		first, again := "", "" // "" is what the checker reports
		for _, d := range slices.Backward(own) {
			switch {
			case d.Requester != requester || d.PackageID != a.Event.ID || a.At.Before(d.CreatedAt) || a.At.After(d.ExpiresAt.Add(reading)):
			case taken[d.ID]:
				again = d.ID
			default:
				first = d.ID
			}
		}
		id := cmp.Or(first, again)
		taken[id] = true
		received = append(received, invariants.Received{DeliveryID: id, Session: requester, PackageID: a.Event.ID, Raw: a.Raw, At: a.At})
	}
	return received
}

// piece is the length by which what must not be logged is recognised: whoever logs 63 characters of it in a row is caught.
const piece = 32

// token is how every JWT begins: two objects in base64, of which the first has a quote behind its brace.
var token = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`)

// forbid notes a text that no log may hold. The caller holds the lock.
func (h *history) forbid(text, what string) {
	for ; len(text) >= piece; text = text[piece:] {
		h.forbidden[text[:piece]] = what
	}
}

// leak says what a log holds that it may not.
func (h *history) leak(log []byte) string {
	if token.Match(log) {
		return "a token"
	}
	for i := range max(0, len(log)-piece+1) {
		if what, found := h.forbidden[string(log[i:i+piece])]; found {
			return what
		}
	}
	return ""
}

// searchLogs looks through everything that all processes have written for what no log may hold (I9): content of
// KeyPackages, signatures (and so whole events), secret keys and tokens.
func (s *soak) searchLogs(r *Report) error {
	files, err := filepath.Glob(filepath.Join(s.Logs, "*.log"))
	for _, file := range files {
		log, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r.LogBytes += len(log)
		if what := s.leak(log); what != "" {
			r.Broken = append(r.Broken, fmt.Sprintf("I9: %s holds %s", filepath.Base(file), what))
		}
	}
	if err != nil || r.LogBytes == 0 {
		return fmt.Errorf("there are no logs in %s", s.Logs)
	}
	return nil
}
