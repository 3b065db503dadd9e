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

// Publish takes in a KeyPackage, see [publishing.Publisher.KeyPackage].
type Publish func(ctx context.Context, e publishing.Event, shared bool) (publishing.Answer, error)

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
	owners   = 8      // whose KeyPackages are taken in at the same time; each costs some four round trips to Firestore
	pageSize = 100    // events asked for at once, which hardly any relay bounds further: 0.3 MB as a rule, at most 12 MB
	maxPage  = 10_000 // events of a relay that takes no notice of that
)

var kinds = []int{keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage}

// Run takes in what the relay has, from the newest to the oldest. It may be repeated, also after an error, and then finds
// what is in stock already; the report is good up to the error. It holds one page of events in memory.
func Run(ctx context.Context, publish Publish, o Options) (Report, error) {
	s := scan{Options: o, publish: publish, report: Report{Duplicate: map[string]int{}, Refused: map[string]int{}}}
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
	Options
	relay   *relay
	publish Publish
	mu      sync.Mutex // several owners' events are taken in at a time
	report  Report

	until *nostr.Timestamp // where the page begins; nil is now
	known map[string]bool  // ids of the events of that second that were met

	sent   int                // events on this page, whatever they are
	events []publishing.Event // to take in
	oldest *nostr.Timestamp   // of those that are where they belong; nil if there are none
	last   map[string]bool    // the ids of that second
}

// page takes in one page, sets where the next one begins, and reports whether there may be one.
func (s *scan) page(ctx context.Context) (more bool, err error) {
	s.sent, s.oldest, s.last = 0, nil, nil
	filter := nostr.Filter{Kinds: kinds, Authors: s.Authors, Until: s.until, Limit: pageSize}
	err = s.relay.stored(ctx, filter, func(raw string) error { return s.add(ctx, raw) })
	if err == nil {
		err = s.take(ctx)
	}
	switch {
	case err != nil || s.sent == 0:
		return false, err
	case s.oldest == nil:
		return false, fmt.Errorf("none of the %d events on a page is what the relay was asked for: it cannot be read further back", s.sent)
	case s.until == nil || *s.oldest < *s.until:
		s.until, s.known = s.oldest, s.last
	default: // all of them are of the second with which the page began
		if s.sent >= pageSize {
			s.report.CrowdedSeconds++
		}
		s.until, s.known = new(*s.oldest-1), nil
	}
	s.report.Oldest = s.oldest.Time().UTC()
	return true, nil
}

// add looks at one event. An event that is not what its signature says still tells where the page ends.
func (s *scan) add(ctx context.Context, raw string) error {
	if s.sent++; s.sent > maxPage {
		return fmt.Errorf("the relay sends more than %d events where it was asked for %d; -authors asks for fewer", maxPage, pageSize)
	}
	event, err := keypackage.VerifyEvent(raw)
	switch {
	case event == nil:
	case !s.asked(event):
		err = errors.New("not what the relay was asked for")
	default:
		if s.note(event); s.known[event.ID] {
			return nil // the page before ended with it
		}
	}
	s.report.Seen++
	if err != nil {
		s.count(publishing.Answer{Reason: "invalid: " + err.Error()})
		return nil
	}
	s.events = append(s.events, publishing.Event{Event: event, Raw: raw})
	if len(s.events) < pageSize {
		return nil
	}
	return s.take(ctx)
}

func (s *scan) asked(event *nostr.Event) bool {
	return slices.Contains(kinds, event.Kind) && (s.until == nil || event.CreatedAt <= *s.until) &&
		(len(s.Authors) == 0 || slices.Contains(s.Authors, event.PubKey))
}

// note keeps where the page ends.
func (s *scan) note(event *nostr.Event) {
	if s.oldest == nil || event.CreatedAt < *s.oldest {
		s.oldest, s.last = new(event.CreatedAt), make(map[string]bool)
	}
	if event.CreatedAt == *s.oldest {
		s.last[event.ID] = true
	}
}

// take takes in the events, those of an owner one after another in their order: they compete for her slots and the room in her stock.
func (s *scan) take(ctx context.Context) error {
	byOwner := make(map[string][]publishing.Event)
	for _, e := range s.events {
		byOwner[e.PubKey] = append(byOwner[e.PubKey], e)
	}
	s.events = nil
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(owners)
	for _, own := range byOwner {
		group.Go(func() error {
			for _, e := range own {
				answer, err := s.publish(ctx, e, true)
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
