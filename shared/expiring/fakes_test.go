package expiring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
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
	deliveries map[string]keypackage.Delivery
	tombstones map[string]bool
	returned   map[string]bool // packages that went back to stock
	stock      map[string]*keypackage.Candidate
	ledger     map[string]keypackage.Ledger
	owners     map[string]keypackage.Owner
	requests   []keypackage.RequestDocument
	answered   map[string]bool
	failing    map[string]bool // requests that can not be taken up
	sweep      Sweep
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
			owners: make(map[string]keypackage.Owner), answered: make(map[string]bool), failing: make(map[string]bool),
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
	return New(w, w, w, w, Settings{Mode: mode, RequestMaxAge: maxAge}, time.Now)
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

func (w *world) Due(ctx context.Context, before time.Time, batch int) iter.Seq2[[]keypackage.StoredDelivery, error] {
	return func(yield func([]keypackage.StoredDelivery, error) bool) {
		var found []keypackage.StoredDelivery
		err := w.during(ctx, "Due", func() error {
			found = w.open(time.Time{}, before)
			return nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		for some := range slices.Chunk(found, batch) {
			if !yield(some, nil) {
				return
			}
		}
	}
}

func (w *world) Waiting(
	ctx context.Context, now time.Time, after *keypackage.Delivery, limit int,
) (found []keypackage.StoredDelivery, err error) {
	err = w.during(ctx, "Waiting", func() error {
		found = w.open(now, now.Add(time.Hour))
		if after != nil {
			i := slices.IndexFunc(found, func(f keypackage.StoredDelivery) bool { return f.ID == after.ID })
			found = found[i+1:]
		}
		found = found[:min(limit, len(found))]
		return nil
	})
	return found, err
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

func (w *world) Requests(
	ctx context.Context, from, to time.Time, after *keypackage.RequestDocument, limit int,
) (docs []keypackage.RequestDocument, err error) {
	err = w.during(ctx, "Requests", func() error {
		for _, doc := range w.requests {
			if doc.ReceivedAt.After(from) && !doc.ReceivedAt.After(to) && (after == nil || byReceipt(doc, *after) > 0) {
				docs = append(docs, doc)
			}
		}
		slices.SortFunc(docs, byReceipt)
		docs = docs[:min(limit, len(docs))]
		return nil
	})
	return docs, err
}

func byReceipt(a, b keypackage.RequestDocument) int {
	return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt), cmp.Compare(a.ID, b.ID))
}

func (w *world) Sweep(ctx context.Context) (sweep Sweep, err error) {
	err = w.during(ctx, "Sweep", func() error {
		sweep = w.sweep
		sweep.Off = slices.Clone(sweep.Off)
		return nil
	})
	return sweep, err
}

func (w *world) SaveSweep(ctx context.Context, sweep Sweep) error {
	return w.during(ctx, "SaveSweep", func() error {
		if !sweep.Version.Equal(w.sweep.Version) {
			return keypackage.ErrConflict
		}
		if sweep.Cursor.Before(w.sweep.Cursor) || sweep.Cursor.IsZero() {
			w.Errorf("the cursor moves from %v to %v", w.sweep.Cursor, sweep.Cursor)
		}
		sweep.Version = w.tick()
		w.sweep = sweep
		return nil
	})
}

func (w *world) Unanswered(ctx context.Context, docs []keypackage.RequestDocument) (open []keypackage.RequestDocument, err error) {
	err = w.during(ctx, "Unanswered", func() error {
		for _, doc := range docs {
			if !w.answered[doc.ID] {
				open = append(open, doc)
			}
		}
		return nil
	})
	return open, err
}

// Recover fails for the failing ones, until they are stale: then it takes only a record.
func (w *world) Recover(ctx context.Context, doc keypackage.RequestDocument) error {
	return w.during(ctx, "TakeUp", func() error {
		if w.failing[doc.ID] && time.Since(doc.ReceivedAt) <= maxAge {
			return errAway
		}
		w.answered[doc.ID] = true
		return nil
	})
}

// receive stores a request that the relay receives now, and returns its id.
func (w *world) receive() string {
	id := fmt.Sprintf("r%04d", len(w.requests))
	w.requests = append(w.requests, keypackage.RequestDocument{ID: id, ReceivedAt: time.Now()})
	return id
}
