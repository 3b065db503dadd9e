package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// upload notes an event that is about to be published. The gateway's document of it says nothing that the event does not.
func (s *soak) upload(event *nostr.Event) error {
	p := keypackage.Inspect(event.ID, keypackage.Document{
		keypackage.FieldOwner: event.PubKey, keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldEvent: event.String(),
	}, keypackage.PolicyStrict)
	if p.Flaw != "" {
		return fmt.Errorf("a KeyPackage of an owner is not one: %s", p.Flaw)
	}
	s.note(func() {
		s.Uploads[event.ID] = p
		s.forbid(event.Content, "content of a KeyPackage")
		s.forbid(event.Sig, "an event's signature")
	})
	return nil
}

// left notes the end of a requester's session, or with "" of all.
func (s *soak) left(requester string) {
	s.note(func() { s.Left[requester] = append(s.Left[requester], time.Now()) })
}

// tally counts what there was, as a whole and by kind.
type tally map[string]int

func (t tally) add(what, kind string) {
	t[what]++
	t[what+": "+kind]++
}

// verdict is an error unless there was anything to see, and every promise was kept.
func (s *soak) verdict() error {
	switch {
	case len(s.broken) > 0:
		return errors.New("promises were broken")
	case s.counts["requests"] == 0:
		return errors.New("there was no request, so nothing was seen")
	}
	return nil
}

func (s *soak) print(w io.Writer) {
	fmt.Fprintf(w, "seed %d, %.0f s with settling\n", s.seed, time.Since(s.begun).Seconds())
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(w, "%8d %s\n", s.counts[what], what)
	}
	fmt.Fprintf(w, "%8d promises broken\n", len(s.broken))
	for _, what := range s.broken {
		fmt.Fprintln(w, "  ✗", what)
	}
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
	run, arrived := s.Run, make(map[string]bool)
	s.counts, s.broken = maps.Clone(s.happened), nil
	s.counts["KeyPackages uploaded"] = len(s.Uploads)
	for _, requester := range s.requesters {
		arrivals, err := requester.AwaitKeyPackages(ctx, 0)
		if err != nil { // something did not verify
			s.broken = append(s.broken, fmt.Sprint("I6: ", err))
		}
		run.Received = append(run.Received, attribute(requester.Pubkey, arrivals, state.Deliveries)...)
	}
	for _, received := range run.Received {
		arrived[received.DeliveryID] = true
	}
	s.counts["received"], s.counts["received: once more"] = len(run.Received), len(run.Received)-len(arrived)
	for _, answer := range state.Answers {
		s.counts.add("requests", string(answer.Outcome()))
	}
	for id, d := range state.Deliveries {
		s.counts.add("deliveries", strings.TrimSpace(fmt.Sprint(d.State, " ", d.Reason)))
		if d.State == keypackage.StateDelivered && !arrived[id] {
			s.counts["deliveries: unread, written when the session was ending"]++
		}
	}
	s.broken = append(s.broken, invariants.Check(run, state)...)
	underWay := func(broken string) bool { return strings.HasPrefix(broken, invariants.UnderWay) }
	return !slices.ContainsFunc(s.broken, underWay), nil
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
		received = append(received, invariants.Received{DeliveryID: id, Session: requester, Raw: a.Raw, At: a.At})
	}
	return received
}

// piece is the length by which what must not be logged is recognised: whoever logs 63 characters of it in a row is caught.
const piece = 32

// token is how every JWT begins: two objects in base64, of which the first has a quote behind its brace.
var token = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`)

// forbid notes a text that no log may hold. The caller holds the lock.
func (s *soak) forbid(text, what string) {
	for ; len(text) >= piece; text = text[piece:] {
		s.forbidden[text[:piece]] = what
	}
}

// leak says what a log holds that it may not.
func (s *soak) leak(log []byte) string {
	if token.Match(log) {
		return "a token"
	}
	for i := range max(0, len(log)-piece+1) {
		if what, found := s.forbidden[string(log[i:i+piece])]; found {
			return what
		}
	}
	return ""
}

// searchLogs looks through everything that all processes have written for what no log may hold (I9): content of
// KeyPackages, signatures (and so whole events), secret keys and tokens.
func (s *soak) searchLogs() error {
	files, err := filepath.Glob(filepath.Join(s.Dir, "*.log"))
	for _, file := range files {
		log, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s.counts["bytes of logs searched"] += len(log)
		if what := s.leak(log); what != "" {
			s.broken = append(s.broken, fmt.Sprintf("I9: %s holds %s", filepath.Base(file), what))
		}
	}
	if err != nil || s.counts["bytes of logs searched"] == 0 {
		return fmt.Errorf("there are no logs in %s", s.Dir)
	}
	return nil
}
