package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/iterator"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// expiry measures ExpireDeliveries, as built, over what has expired and beside what has not.
func (b *bench) expiry(ctx context.Context) error {
	executable, err := b.executable(ctx)
	if err != nil {
		return err
	}
	t := b.report.table("expiry", "ExpireDeliveries: packages of deliveries that have expired return to stock",
		"s", "documents/s", "runs", "peak memory MB", "bare query s")
	t.note("Each is one process, called until nothing is left, of at most 50 s a run; in mode off, which expires and does nothing")
	t.note("else. (In mode deliver a run also walks through what waits, to repeat lost nudges: linear in that, by its nature.)")
	t.note("The bare query finds what is due; the emulator's looks at what is not due as well, which Firestore's does not.")
	if _, err := b.expire(ctx, executable, b.sizes.stale[0], 0); err != nil { // warms up the emulator
		return err
	}
	few := b.sizes.stale[0]
	alone, err := b.expire(ctx, executable, few, 0)
	if err != nil {
		return err
	}
	alone.report(t, fmt.Sprintf("%d expired", few))
	beside, err := b.expire(ctx, executable, few, b.sizes.backlog) // before the emulator holds the most
	if err != nil {
		return err
	}
	beside.report(t, fmt.Sprintf("%d expired, %d not", few, b.sizes.backlog))
	last := alone
	for _, stale := range b.sizes.stale[1:] {
		if last, err = b.expire(ctx, executable, stale, 0); err != nil {
			return err
		}
		last.report(t, fmt.Sprintf("%d expired", stale))
	}
	b.report.atMost("expiry: time per document, most over fewest", last.perDocument()/alone.perDocument(), 1.5)
	growth, ofQuery := beside.took.Seconds()/alone.took.Seconds(), beside.query.Seconds()/alone.query.Seconds()
	b.report.atMost("expiry's growth over its bare query's, beside what has not expired", growth/ofQuery, 1.5)
	b.report.atMost("expiry: peak memory, most over fewest", last.peak/alone.peak, 1.5)
	return nil
}

// expired is what it took to expire a number of deliveries.
type expired struct {
	documents, runs int
	took, query     time.Duration
	peak            float64 // MB
}

func (e expired) perDocument() float64 { return e.took.Seconds() / float64(e.documents) }

func (e expired) report(t *Table, name string) {
	t.add(name, e.took.Seconds(), 1/e.perDocument(), float64(e.runs), e.peak, e.query.Seconds())
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
	for range 2 { // the first one after so many writes pays for them
		if e.query, err = timed(func() error { return db.bareDue(ctx) }); err != nil {
			return e, err
		}
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
	if e.peak = f.memory("VmHWM"); err == nil {
		// Not what the runs have reported: the time of one may be over before it knows that its last batch is written.
		e.documents, err = db.countExpired(ctx)
	}
	if err == nil && e.documents != stale {
		err = fmt.Errorf("%d of %d deliveries expired", e.documents, stale)
	}
	return e, err
}

// bareDue finds what is due, as ExpireDeliveries does, and does nothing with it.
func (db *database) bareDue(ctx context.Context) error {
	due := db.client.Collection(db.Collections.Deliveries).Where("state", "in", []keypackage.State{keypackage.StatePending, keypackage.StateSending}).
		Where("expires_at", "<=", time.Now()).OrderBy("expires_at", firestore.Asc).Documents(ctx)
	defer due.Stop()
	for {
		if _, err := due.Next(); errors.Is(err, iterator.Done) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (db *database) countExpired(ctx context.Context) (int, error) {
	expired := db.client.Collection(db.Collections.Deliveries).Where("state", "==", keypackage.StateExpired)
	counts, err := expired.NewAggregationQuery().WithCount("n").GetResponse(ctx)
	if err != nil {
		return 0, fmt.Errorf("count what has expired: %w", err)
	}
	n, _ := counts.Result["n"].(*firestorepb.Value)
	return int(n.GetIntegerValue()), nil
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
		if len(report.More) == 0 {
			return nil
		}
	}
}
