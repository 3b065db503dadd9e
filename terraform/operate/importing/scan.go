package importing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

const (
	// pageSize is how many events the relay is asked for at once, which hardly any relay bounds further: 0.3 MB as a rule, and
	// 12 MB if all are as large as an event may be.
	pageSize = 100
	// maxPage bounds what a relay sends that takes no notice of the limit.
	maxPage = 10_000
)

var kinds = []int{keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage}

var (
	errNoEnd   = fmt.Errorf("the relay sends more than %d events where it was asked for %d; -authors asks for fewer", maxPage, pageSize)
	errForeign = errors.New("not what the relay was asked for")
)

// scan goes through the relay's events backwards in time, page by page. A page begins with the second in which the one before
// has ended, because the relay may have more events of that second.
type scan struct {
	*importer
	relay   *relay
	authors []string
	until   *nostr.Timestamp // where the page begins; nil is now
	known   map[string]bool  // ids of the events of that second that were met
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
		return errNoEnd
	}
	event, err := keypackage.VerifyEvent(raw)
	if event != nil && !p.asked(event) {
		event, err = nil, errForeign
	}
	if event != nil {
		p.note(event)
		if p.known[event.ID] {
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
		p.oldest, p.last = &event.CreatedAt, make(map[string]bool)
	}
	if event.CreatedAt == *p.oldest {
		p.last[event.ID] = true
	}
}
