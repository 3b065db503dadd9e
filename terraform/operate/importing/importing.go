// Package importing takes what owners have on a relay today into stock: KeyPackages of kinds 443 and 30443. Anybody could
// read them there, so they count as shared: they are handed out as reserves only, until their owners publish new ones.
package importing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// Publisher takes in a KeyPackage, see [publishing.Publisher].
type Publisher interface {
	KeyPackage(ctx context.Context, e publishing.Event, shared bool) (publishing.Answer, error)
}

// Options of an import.
type Options struct {
	From     string       // the relay's URL
	Authors  []string     // public keys of the owners; none: all
	Secret   string       // hex key to authenticate with (NIP-42), "" for none
	Progress func(Report) // is called after each page of the relay's events
}

// Report counts the events that the relay has sent.
type Report struct {
	Seen      int            `json:"seen"`
	Taken     int            `json:"taken"`
	Duplicate map[string]int `json:"duplicate"` // nothing to do, by reason
	Refused   map[string]int `json:"refused"`   // by reason
	Oldest    time.Time      `json:"oldest,omitzero"`
	// CrowdedSeconds are those of which the relay may have more than it sends at once: the others can be asked for by author only.
	CrowdedSeconds int `json:"crowded_seconds,omitempty"`
}

const (
	// owners is how many owners' KeyPackages are taken in at the same time. Each costs some four round trips to Firestore.
	owners = 8
	// pageSize is what the relay is asked for at once, which hardly any bounds further: 0.3 MB as a rule, at most 12 MB.
	pageSize = 100
	// maxPage bounds what a relay sends that takes no notice of the limit.
	maxPage = 10_000
)

var kinds = []int{keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage}

// Run takes in what the relay has, from the newest to the oldest. It may be repeated, also after an error, and then finds
// what is in stock already; the report is good up to the error. It holds one page of events in memory.
func Run(ctx context.Context, publisher Publisher, o Options) (Report, error) {
	s := scan{publisher: publisher, authors: o.Authors, report: Report{Duplicate: map[string]int{}, Refused: map[string]int{}}}
	var err error
	if s.relay, err = dial(ctx, o.From); err != nil {
		return s.report, err
	}
	defer s.relay.close()
	err = s.relay.login(ctx, o.Secret)
	for more := true; more && err == nil; {
		if more, err = s.page(ctx); more {
			o.Progress(s.report)
		}
	}
	return s.report, err
}

// scan goes through the relay's events backwards in time, page by page. A page begins with the second in which the one before
// has ended, because the relay may have more events of that second.
type scan struct {
	relay     *relay
	publisher Publisher
	authors   []string
	until     *nostr.Timestamp // where the page begins; nil is now
	known     map[string]bool  // ids of the events of that second that were met

	mu     sync.Mutex // several owners' events are taken in at a time
	report Report
}

// page is what came of one page.
type page struct {
	*scan
	sent   int                // events, whatever they are
	events []publishing.Event // to take in
	oldest *nostr.Timestamp   // of those that are where they belong; nil if there are none
	last   map[string]bool    // the ids of that second
}

// page takes in one page, sets where the next one begins, and reports whether there may be one.
func (s *scan) page(ctx context.Context) (more bool, err error) {
	filter := nostr.Filter{Kinds: kinds, Authors: s.authors, Until: s.until, Limit: pageSize}
	p := page{scan: s}
	err = s.relay.stored(ctx, filter, func(raw string) error { return p.add(ctx, raw) })
	if err == nil {
		err = s.take(ctx, p.events)
	}
	switch {
	case err != nil || p.sent == 0:
		return false, err
	case p.oldest == nil:
		return false, fmt.Errorf("none of the %d events on a page is what the relay was asked for: it cannot be read further back", p.sent)
	case s.until == nil || *p.oldest < *s.until:
		s.until, s.known = p.oldest, p.last
	default: // all of them are of the second with which the page began
		if p.sent >= pageSize {
			s.report.CrowdedSeconds++
		}
		s.until, s.known = new(*p.oldest-1), nil
	}
	s.report.Oldest = p.oldest.Time().UTC()
	return true, nil
}

// add looks at one event. An event that is not what its signature says still tells where the page ends.
func (p *page) add(ctx context.Context, raw string) error {
	if p.sent++; p.sent > maxPage {
		return fmt.Errorf("the relay sends more than %d events where it was asked for %d; -authors asks for fewer", maxPage, pageSize)
	}
	event, err := keypackage.VerifyEvent(raw)
	switch {
	case event == nil:
	case !p.asked(event):
		err = errors.New("not what the relay was asked for")
	default:
		if p.note(event); p.known[event.ID] {
			return nil // the page before ended with it
		}
	}
	p.report.Seen++
	if err != nil {
		p.count(publishing.Answer{Reason: "invalid: " + err.Error()})
		return nil
	}
	if p.events = append(p.events, publishing.Event{Event: event, Raw: raw}); len(p.events) < pageSize {
		return nil
	}
	events := p.events
	p.events = nil
	return p.take(ctx, events)
}

func (p *page) asked(event *nostr.Event) bool {
	return slices.Contains(kinds, event.Kind) && (p.until == nil || event.CreatedAt <= *p.until) &&
		(len(p.authors) == 0 || slices.Contains(p.authors, event.PubKey))
}

// note keeps where the page ends.
func (p *page) note(event *nostr.Event) {
	if p.oldest == nil || event.CreatedAt < *p.oldest {
		p.oldest, p.last = new(event.CreatedAt), make(map[string]bool)
	}
	if event.CreatedAt == *p.oldest {
		p.last[event.ID] = true
	}
}

// take takes in events, those of an owner one after another in their order: they compete for her slots and the room in her stock.
func (s *scan) take(ctx context.Context, events []publishing.Event) error {
	byOwner := make(map[string][]publishing.Event)
	for _, e := range events {
		byOwner[e.PubKey] = append(byOwner[e.PubKey], e)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(owners)
	for _, own := range byOwner {
		group.Go(func() error {
			for _, e := range own {
				answer, err := s.publisher.KeyPackage(ctx, e, true)
				if err != nil {
					return err
				}
				s.count(answer)
			}
			return nil
		})
	}
	return group.Wait()
}

func (s *scan) count(answer publishing.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch duplicate, is := strings.CutPrefix(answer.Reason, "duplicate: "); {
	case is:
		s.report.Duplicate[duplicate]++
	case answer.Accepted:
		s.report.Taken++
	default:
		s.report.Refused[answer.Reason]++
	}
}

// DryRun answers what the store does, and keeps nothing. It takes in at least what an import would, which also fills room and slots.
type DryRun struct{ publishing.Store }

// Expose implements publishing.Store.
func (DryRun) Expose(context.Context, keypackage.Ledger) error { return nil }

// Stock implements publishing.Store.
func (DryRun) Stock(context.Context, *keypackage.Package, string, publishing.Published, *keypackage.Ledger) error {
	return nil
}
