// Package expiring is the use case of ExpireDeliveries, the scheduled function: it ends what is over and recovers what was lost on
// the way.
//
// expirer.go gives each job its share of a run's time and says what the run did, deliveries.go expires deliveries, repeats lost
// nudges and recovers requests whose trigger was lost, stock.go keeps the stock clean and notifies owners, and ports.go is the
// contract with store, claimer and topics. Every job works in bounded batches and in constant memory, is safe beside another run,
// and skips what it cannot read.
package expiring

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

// RunTime bounds one run: the scheduler starts the next one a minute after this one.
const RunTime = 50 * time.Second

// Expirer is safe for concurrent use.
type Expirer struct {
	store      Store
	claimer    Claimer
	deliveries Deliveries
	notices    Notices
	settings   Settings
	now        func() time.Time
}

// Settings of an Expirer.
type Settings struct {
	Mode          rollout.Mode
	RequestMaxAge time.Duration // after it nobody waits for what cannot be read
}

// New returns an Expirer. now is the clock of the rules; the length of a run is measured by the context's.
func New(store Store, claimer Claimer, deliveries Deliveries, notices Notices, settings Settings, now func() time.Time) *Expirer {
	return &Expirer{store, claimer, deliveries, notices, settings, now}
}

// Report says what a run did.
type Report struct {
	Returned   int            `json:"returned"`   // deliveries expired, their packages back in stock
	Burned     map[string]int `json:"burned"`     // deliveries expired, their packages lost to everybody, by reason
	Reserves   int            `json:"reserves"`   // deliveries of reserves expired
	Nudged     int            `json:"nudged"`     // requesters with pending deliveries whose delivery was asked for again
	Recovered  int            `json:"taken_up"`   // requests whose trigger was lost
	Failed     int            `json:"failed"`     // requests that could not be recovered; the next run tries again
	Dismissed  int            `json:"dismissed"`  // request documents that lost their mark without an answer: mode off, no request
	Removed    int            `json:"removed"`    // expired packages removed from stock
	Retired    int            `json:"retired"`    // reserves removed from stock
	Notices    int            `json:"notices"`    // levels of stock that owners were told of
	Unreadable int            `json:"unreadable"` // documents that were skipped: somebody has to look at them
	Example    string         `json:"unreadable_example,omitempty"`
	More       []string       `json:"more"` // jobs for which the time was over before the work was

	skipped map[string]bool // what Unreadable counts: a job may meet the same document again
}

func (r *Report) count(expired []*keypackage.Delivery) {
	for _, d := range expired {
		switch d.Reason {
		case keypackage.ExpiredReturned:
			r.Returned++
		case keypackage.ExpiredReserve:
			r.Reserves++
		default:
			r.Burned[d.Reason]++
		}
	}
}

// skip counts a document that cannot be read. The error names it.
func (r *Report) skip(err error) {
	if r.skipped == nil {
		r.skipped, r.Example = make(map[string]bool), err.Error()
	}
	r.skipped[err.Error()] = true
	r.Unreadable = len(r.skipped)
}

// job is one thing that a run does. It may be stopped at any time and begun again.
type job struct {
	name string
	run  func(context.Context, *Report) error
}

// jobs are what there is to do in a mode. In every mode deliveries end and requests lose their marks; the rest is for deliver.
func (e *Expirer) jobs(mode keypackage.Mode) []job {
	jobs := []job{{"expire", e.expireDeliveries}}
	switch mode {
	case keypackage.ModeOff:
		return append(jobs, job{"dismiss", e.dismissRequests})
	case keypackage.ModeObserve:
		return append(jobs, job{"recover", e.recoverRequests})
	}
	return append(jobs,
		job{"recover", e.recoverRequests}, job{"nudge", e.repeatNudges}, job{"remove", e.removeExpired},
		job{"retire", e.retireReserves}, job{"notify", e.notifyOwners},
	)
}

// Run does everything once. One job that fails does not keep the others from running; the errors are joined.
func (e *Expirer) Run(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, RunTime)
	defer cancel()
	report := Report{Burned: make(map[string]int)}
	mode, err := e.settings.Mode.Now(ctx)
	if err != nil { // not even known to be off: then requests keep their marks
		return report, errors.Join(err, e.expireDeliveries(ctx, &report))
	}
	var errs []error
	left := e.jobs(mode)
	for len(left) > 0 && ctx.Err() == nil {
		var cut []job
		for i, job := range left {
			done, err := e.slice(ctx, job, len(left)-i, &report)
			if errs = append(errs, err); !done {
				cut = append(cut, job)
			}
		}
		left = cut
	}
	for _, job := range left {
		report.More = append(report.More, job.name)
	}
	return report, errors.Join(errs...)
}

// slice runs a job in its share of the time that is left, so that none keeps the jobs behind it from running. What a job does not
// need the others may use; one that was cut short goes on once all have had their turn. It reports whether the job came to its
// end. What fails once the time is over fails because of that, in words of its own.
func (e *Expirer) slice(ctx context.Context, job job, sharers int, report *Report) (done bool, err error) {
	deadline, _ := ctx.Deadline() // of Run
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(sharers))
	defer cancel()
	if err = job.run(ctx, report); ctx.Err() != nil {
		return false, nil
	}
	return true, err
}

// delivers reports whether there is time, and the mode still is deliver: a run is long, and the switch is asked for before each batch.
func (e *Expirer) delivers(ctx context.Context) bool {
	mode, err := e.settings.Mode.Now(ctx)
	return err == nil && mode == keypackage.ModeDeliver && ctx.Err() == nil
}

// each does something about all that can be read, up to n at a time, as long as goOn. What fails for some does not keep the others
// waiting, and what loses a race is left to the next run.
func each[T any](
	ctx context.Context, all iter.Seq2[T, error], n int, report *Report, goOn func(context.Context) bool, do func([]T) error,
) error {
	var failures []error
	for batch, err := range batches(all, n, report) {
		if err == nil {
			if !goOn(ctx) {
				break
			}
			err = do(batch)
		}
		if !errors.Is(err, keypackage.ErrConflict) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// batches goes through what can be read, up to n at a time, and counts what cannot.
func batches[T any](all iter.Seq2[T, error], n int, report *Report) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		var batch []T
		for one, err := range all {
			if errors.Is(err, keypackage.ErrUnreadable) {
				report.skip(err)
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if batch = append(batch, one); len(batch) == n {
				if !yield(batch, nil) {
					return
				}
				batch = nil
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}
