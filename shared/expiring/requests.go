package expiring

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// The walk through the requests goes by the relay's time of receipt. It stays behind the present, because a trigger needs
// its moment, and looks back behind its cursor, because receipts are written by clocks that differ.
const (
	sweepBehind  = 30 * time.Second
	sweepOverlap = 10 * time.Minute
	sweepBatch   = 100
	sweepAtOnce  = 4
)

// takeUpRequests takes up requests that have no answer, because their trigger was lost. In mode off it only notes the
// time, so that what was received then is left alone for good.
func (e *Expirer) takeUpRequests(ctx context.Context, report *Report) error {
	sweep, err := e.store.Sweep(ctx)
	if err != nil {
		return err
	}
	now := e.now()
	if sweep.Cursor.IsZero() {
		sweep.Cursor = now.Add(-e.settings.RequestMaxAge)
	}
	if e.settings.Mode == keypackage.ModeOff {
		sweep.noteOff(now)
		return e.saveSweep(ctx, sweep)
	}
	sweep.endOff()
	cursor, err := e.walk(ctx, sweep, now.Add(-sweepBehind), report)
	if cursor.After(sweep.Cursor) {
		sweep.Cursor = cursor
	}
	sweep.forgetOff()
	return errors.Join(err, e.saveSweep(context.WithoutCancel(ctx), sweep))
}

// saveSweep leaves the state to another run that was faster.
func (e *Expirer) saveSweep(ctx context.Context, sweep Sweep) error {
	err := e.store.SaveSweep(ctx, sweep)
	if errors.Is(err, keypackage.ErrConflict) {
		return nil
	}
	return err
}

// walk takes up what has no answer and returns how far everything has one.
func (e *Expirer) walk(ctx context.Context, sweep Sweep, to time.Time, report *Report) (time.Time, error) {
	from, cursor := sweep.Cursor.Add(-sweepOverlap), sweep.Cursor
	var last *keypackage.RequestDocument
	clean := true // no request without an answer has been met
	for {
		docs, err := e.store.Requests(ctx, from, to, last, sweepBatch)
		if err != nil {
			return cursor, err
		}
		failed, err := e.takeUp(ctx, sweep, docs, report)
		if err != nil {
			return cursor, err
		}
		if clean = clean && len(failed) == 0; clean && len(docs) > 0 {
			cursor = docs[len(docs)-1].ReceivedAt
		}
		if len(docs) < sweepBatch {
			if clean {
				cursor = to
			}
			return cursor, nil
		}
		last = &docs[len(docs)-1]
	}
}

// takeUp takes up those of the documents that have no answer and were not received in mode off. It returns those that
// still have none.
func (e *Expirer) takeUp(
	ctx context.Context, sweep Sweep, docs []keypackage.RequestDocument, report *Report,
) ([]keypackage.RequestDocument, error) {
	var wanted []keypackage.RequestDocument
	for _, doc := range docs {
		if !sweep.receivedInOff(doc.ReceivedAt) {
			wanted = append(wanted, doc)
		}
	}
	open, err := e.claimer.Unanswered(ctx, wanted)
	if err != nil || len(open) == 0 {
		return open, err
	}
	errs := make([]error, len(open))
	var group errgroup.Group
	group.SetLimit(sweepAtOnce)
	for i, doc := range open {
		group.Go(func() error {
			errs[i] = e.claimer.Recover(ctx, doc)
			return nil
		})
	}
	_ = group.Wait()
	var failed []keypackage.RequestDocument
	for i, doc := range open {
		if errs[i] != nil {
			failed = append(failed, doc)
		}
	}
	report.Recovered += len(open) - len(failed)
	report.Failed += len(failed)
	return failed, nil
}

// offGap is the longest time between two runs that counts as one time in mode off. In a longer one the mode may have been
// another, unseen.
const offGap = 3 * time.Minute

// noteOff extends the current time in mode off, or begins one. A time in mode off ends when a run sees another mode.
func (s *Sweep) noteOff(now time.Time) {
	if n := len(s.Off); n > 0 && s.OffNow && now.Sub(s.Off[n-1].Until) <= offGap {
		s.Off[n-1].Until = now
		return
	}
	s.Off, s.OffNow = append(s.Off, Off{Since: now, Until: now}), true
}

func (s *Sweep) endOff() { s.OffNow = false }

// forgetOff drops the times in mode off that the walk will not come back to.
func (s *Sweep) forgetOff() {
	for len(s.Off) > 0 && s.Off[0].Until.Before(s.Cursor.Add(-sweepOverlap)) {
		s.Off = s.Off[1:]
	}
}

func (s *Sweep) receivedInOff(at time.Time) bool {
	for _, off := range s.Off {
		if !at.Before(off.Since) && !at.After(off.Until) {
			return true
		}
	}
	return false
}
