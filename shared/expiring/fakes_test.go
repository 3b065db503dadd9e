package expiring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var errAway = errors.New("the database is away")

const maxAge = 15 * time.Minute

// world is everything around an Expirer: store, claimer and publisher in memory. It accuses whoever breaks their contracts.
type world struct {
	*testing.T
	mu         sync.Mutex
	writes     int
	uploaded   int
	deliveries map[string]keypackage.Delivery
	tombstones map[string]bool
	returned   map[string]bool // packages that went back to stock
	stock      map[string]*keypackage.Candidate
	ledger     map[string]keypackage.Ledger
	owners     map[string]keypackage.Owner
	requests   []keypackage.RequestDocument
	answered   map[string]bool
	begun      map[string]bool // requests of which some units have a claim
	unmarked   map[string]bool // documents without the mark, with an answer or without
	broken     map[string]bool // documents that can not be read, by id
	failing    map[string]bool // requests that can not be taken up
	mode       keypackage.Mode // what the switch says during the run
	nudged     []string
	notices    []string

	// fault is asked before each call; what it returns is the call's error.
	fault func(call string) error
}

// inWorld runs a test in a bubble of its own time.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(&world{
			T: t, deliveries: make(map[string]keypackage.Delivery), tombstones: make(map[string]bool), returned: make(map[string]bool),
			stock: make(map[string]*keypackage.Candidate), ledger: make(map[string]keypackage.Ledger),
			owners: make(map[string]keypackage.Owner), answered: make(map[string]bool), begun: make(map[string]bool), failing: make(map[string]bool),
			unmarked: make(map[string]bool), broken: make(map[string]bool),
			fault: func(string) error { return nil },
		})
	})
}

// run makes one run of the scheduled function, which must succeed.
func (w *world) run(mode keypackage.Mode) Report {
	w.Helper()
	report, err := w.expirer(mode).Run(w.Context())
	if err != nil {
		w.Errorf("run in mode %s: %v", mode, err)
	}
	return report
}

func (w *world) expirer(mode keypackage.Mode) *Expirer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode = mode
	return New(w, w, w, w, Settings{Mode: w, RequestMaxAge: maxAge}, time.Now)
}

// Now implements rollout.Mode.
func (w *world) Now(context.Context) (keypackage.Mode, error) {
	if err := w.fault("Mode"); err != nil {
		return keypackage.ModeOff, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mode, nil
}

func (w *world) during(ctx context.Context, call string, work func() error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := w.fault(call); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return work()
}

func (w *world) tick() time.Time {
	w.writes++
	return time.Unix(int64(w.writes), 0)
}

// add stores n deliveries that were claimed now.
func (w *world) add(n int, edits ...func(*keypackage.Delivery)) {
	for range n {
		id := fmt.Sprintf("k%03d", len(w.deliveries))
		d := keypackage.Delivery{
			ID: "r_" + id, PackageID: id, Requester: "alice", RequestIDs: []string{"r"}, State: keypackage.StatePending,
			CreatedAt: time.Now(), ExpiresAt: time.Now().Add(5 * time.Minute), PackageExpires: time.Now().Add(time.Hour), Version: w.tick(),
		}
		for _, edit := range edits {
			edit(&d)
		}
		w.deliveries[d.ID] = d
	}
}

func (w *world) open(from, to time.Time) (found []keypackage.StoredDelivery) {
	for _, d := range w.deliveries {
		if d.Open() && d.ExpiresAt.After(from) && !d.ExpiresAt.After(to) {
			found = append(found, keypackage.StoredDelivery{Delivery: d, Tombstoned: w.tombstones[d.PackageID]})
		}
	}
	slices.SortFunc(found, func(a, b keypackage.StoredDelivery) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// going goes through what find finds, without those that can not be read.
func going[T any](ctx context.Context, w *world, call string, find func() []T, id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		var found []T
		if err := w.during(ctx, call, func() error { found = find(); return nil }); err != nil {
			yield(none, err)
			return
		}
		for _, one := range found {
			err := ctx.Err()
			last := err != nil
			if !last && w.broken[id(one)] {
				one, err = none, fmt.Errorf("%s: %w", id(one), keypackage.ErrUnreadable)
			}
			if !yield(one, err) || last {
				return
			}
		}
	}
}

func (w *world) Due(ctx context.Context, before time.Time, tombstones bool) iter.Seq2[keypackage.StoredDelivery, error] {
	return going(ctx, w, "Due", func() []keypackage.StoredDelivery {
		found := w.open(time.Time{}, before)
		for i := range found {
			found[i].Tombstoned = found[i].Tombstoned && tombstones
		}
		return found
	},
		func(d keypackage.StoredDelivery) string { return d.ID })
}

func (w *world) Waiting(ctx context.Context, now time.Time) iter.Seq2[keypackage.Delivery, error] {
	return going(ctx, w, "Waiting", func() (found []keypackage.Delivery) {
		for _, d := range w.open(now, now.Add(time.Hour)) {
			found = append(found, d.Delivery)
		}
		return found
	}, func(d keypackage.Delivery) string { return d.ID })
}

func (w *world) Expire(ctx context.Context, deliveries []*keypackage.Delivery) error {
	return w.during(ctx, "Expire", func() error {
		for _, d := range deliveries {
			before := w.deliveries[d.ID]
			if !before.Version.Equal(d.Version) || (d.Reason == keypackage.ExpiredReturned && w.tombstones[d.PackageID]) {
				return keypackage.ErrConflict
			}
			if d.State != keypackage.StateExpired || d.Reason == "" || time.Now().Before(before.DueAt()) {
				w.Errorf("expired: %+v at %v", d, time.Now())
			}
		}
		for _, d := range deliveries {
			d.Version = w.tick()
			w.deliveries[d.ID] = *d
			w.returned[d.PackageID] = d.Reason == keypackage.ExpiredReturned
		}
		return nil
	})
}

func (w *world) PublishRequesters(ctx context.Context, requesters []string) error {
	return w.during(ctx, "PublishRequesters", func() error {
		w.nudged = append(w.nudged, requesters...)
		return nil
	})
}

func (w *world) Marked(ctx context.Context, before time.Time) iter.Seq2[keypackage.RequestDocument, error] {
	return going(ctx, w, "Marked", func() (found []keypackage.RequestDocument) {
		for _, doc := range w.requests {
			if !w.unmarked[doc.ID] && !doc.ReceivedAt.After(before) {
				found = append(found, doc)
			}
		}
		rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
		return found
	}, func(doc keypackage.RequestDocument) string { return doc.ID })
}

func (w *world) Unmark(ctx context.Context, doc keypackage.RequestDocument, claimIDs []string) error {
	return w.during(ctx, "Unmark", func() error {
		if len(claimIDs) > 0 && (w.answered[doc.ID] || w.begun[doc.ID]) {
			return keypackage.ErrConflict
		}
		w.unmarked[doc.ID] = true
		return nil
	})
}

// Recover fails for the failing ones, until they are stale: then it takes only a record. Of a broken one not even that can
// be written.
func (w *world) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	return w.during(ctx, "Recover", func() error {
		if w.broken["record of "+doc.ID] {
			return fmt.Errorf("its record: %w", keypackage.ErrUnreadable)
		}
		if w.failing[doc.ID] && time.Since(doc.ReceivedAt) <= maxAge {
			return errAway
		}
		w.answered[doc.ID], w.unmarked[doc.ID] = true, true
		return nil
	})
}

// receive stores a request that the relay receives now, and returns its id.
func (w *world) receive() string {
	id := fmt.Sprintf("r%04d", len(w.requests))
	w.requests = append(w.requests, keypackage.RequestDocument{
		ID: id, ReceivedAt: time.Now(), HasKind: true, Kind: keypackage.KindRequest, Event: `{"kind":447}`, Marked: true,
	})
	return id
}
