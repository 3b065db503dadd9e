// Package importing takes what owners have on a relay today into stock: KeyPackages of kinds 443 and 30443. Anybody could
// read them there, so they count as shared: they are handed out as reserves only, until their owners publish new ones.
//
// importing.go takes the events in and counts, scan.go goes through what the relay has, and relay.go speaks to it.
package importing

import (
	"context"
	"strings"
	"sync"
	"time"

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
	// CrowdedSeconds counts the seconds of which the relay may have more events than it sends at once: there is no way to ask
	// for the others but by their authors.
	CrowdedSeconds int `json:"crowded_seconds,omitempty"`
}

// owners is how many owners' KeyPackages are taken in at the same time. Each costs some four round trips to Firestore.
const owners = 8

// Run takes in what the relay has, from the newest to the oldest. It may be repeated, also after an error, and then finds
// what is in stock already; the report is good up to the error. It holds one page of events in memory.
func Run(ctx context.Context, publisher Publisher, o Options) (Report, error) {
	s := scan{importer: &importer{publisher: publisher, report: Report{Duplicate: map[string]int{}, Refused: map[string]int{}}}, authors: o.Authors}
	relay, err := dial(ctx, o.From)
	if err != nil {
		return s.report, err
	}
	defer relay.close()
	s.relay, err = relay, relay.login(ctx, o.Secret)
	for more := true; more && err == nil; {
		if more, err = s.page(ctx); more {
			o.Progress(s.report)
		}
	}
	return s.report, err
}

// importer takes events in, and counts.
type importer struct {
	publisher Publisher
	mu        sync.Mutex
	report    Report
}

// take takes in events, those of an owner one after another in their order, because they compete for her slots and for the
// room in her stock.
func (i *importer) take(ctx context.Context, events []publishing.Event) error {
	byOwner := make(map[string][]publishing.Event)
	for _, e := range events {
		byOwner[e.PubKey] = append(byOwner[e.PubKey], e)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(owners)
	for _, own := range byOwner {
		group.Go(func() error {
			for _, e := range own {
				answer, err := i.publisher.KeyPackage(ctx, e, true)
				if err != nil {
					return err
				}
				i.count(answer)
			}
			return nil
		})
	}
	return group.Wait()
}

func (i *importer) count(answer publishing.Answer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch duplicate, is := strings.CutPrefix(answer.Reason, "duplicate: "); {
	case is:
		i.report.Duplicate[duplicate]++
	case answer.Accepted:
		i.report.Taken++
	default:
		i.report.Refused[answer.Reason]++
	}
}

// DryRun answers what the store does, and keeps nothing. It does not count what the import itself would fill, an owner's room or
// a slot, and so takes in at least as much as an import would.
type DryRun struct{ publishing.Store }

// Expose implements publishing.Store.
func (DryRun) Expose(context.Context, keypackage.Ledger) error { return nil }

// Stock implements publishing.Store.
func (DryRun) Stock(context.Context, *keypackage.Package, string, publishing.Published, *keypackage.Ledger) error {
	return nil
}
