package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
)

// expiry measures ExpireDeliveries, as built, over what has expired and beside what has not.
func (b *bench) expiry(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	executable, err := build(ctx, dir)
	if err != nil {
		return err
	}
	t := b.report.table("expiry", "ExpireDeliveries: packages of deliveries that have expired return to stock",
		"s", "documents/s", "runs", "peak memory MB")
	t.note("Each is one process, called until nothing is left, of at most 50 s a run; in mode off, which expires and does nothing")
	t.note("else. (In mode deliver a run also walks through what waits, to repeat lost nudges: linear in that, by its nature.)")
	var alone, last expired
	for i, stale := range b.sizes.stale {
		if last, err = b.expire(ctx, executable, stale, 0); err != nil {
			return err
		}
		last.report(t, fmt.Sprintf("%d expired", stale))
		if i == 0 {
			alone = last
		}
	}
	few := b.sizes.stale[0]
	beside, err := b.expire(ctx, executable, few, b.sizes.backlog)
	if err != nil {
		return err
	}
	beside.report(t, fmt.Sprintf("%d expired, %d not", few, b.sizes.backlog))
	b.report.atMost("expiry: time per document, most over fewest", last.perDocument()/alone.perDocument(), 1.5)
	b.report.atMost("expiry: time beside what has not expired over time without", beside.perDocument()/alone.perDocument(), 1.5)
	b.report.atMost("expiry: peak memory, most over fewest", last.peak/alone.peak, 1.5)
	return nil
}

// expired is what it took to expire a number of deliveries.
type expired struct {
	documents, runs int
	took            time.Duration
	peak            float64 // MB
}

func (e expired) perDocument() float64 { return e.took.Seconds() / float64(e.documents) }

func (e expired) report(t *Table, name string) {
	t.add(name, e.took.Seconds(), 1/e.perDocument(), float64(e.runs), e.peak)
}

func (b *bench) expire(ctx context.Context, executable string, stale, waiting int) (e expired, err error) {
	b.progress("%d deliveries to expire, %d not", stale, waiting)
	db, err := newDatabase(ctx)
	if err != nil {
		return e, err
	}
	defer db.drop(ctx)
	if err := db.putDeliveries(ctx, waiting, time.Now().Add(24*time.Hour)); err != nil {
		return e, err
	}
	if err := db.putDeliveries(ctx, stale, time.Now().Add(-time.Hour)); err != nil {
		return e, err
	}
	f, err := b.serve(ctx, executable, suite.Expire, db, map[string]string{"ROLLOUT_MODE": "off"})
	if err != nil {
		return e, err
	}
	defer f.Stop()
	if err := f.AwaitReady(ctx, process.Listens(f.addr)); err != nil {
		return e, err
	}
	e.took, err = timed(func() error { return f.expireAll(ctx, &e) })
	if e.peak = f.memory("VmHWM"); err == nil && e.documents != stale {
		err = fmt.Errorf("%d of %d deliveries expired", e.documents, stale)
	}
	return e, err
}

// expireAll calls the function until it says that nothing is left.
func (f *function) expireAll(ctx context.Context, e *expired) error {
	for {
		answer, err := f.call(ctx, http.Header{"Content-Type": {"application/json"}}, []byte("{}"))
		if err != nil {
			return err
		}
		var report expiring.Report
		if err := json.Unmarshal(answer, &report); err != nil {
			return err
		}
		e.runs++
		e.documents += report.Returned
		if !report.More {
			return nil
		}
	}
}
