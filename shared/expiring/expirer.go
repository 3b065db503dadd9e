// Package expiring is the use case of ExpireDeliveries, the scheduled function: it ends what is over and recovers what was
// lost on the way.
//
// expirer.go gives each job its share of a run's time, deliveries.go expires deliveries and repeats lost nudges, requests.go
// recovers requests whose trigger was lost, stock.go keeps the stock clean and notifies owners, report.go says what a run did,
// and ports.go is the contract with store, claimer and topics. Every job works in bounded batches and in constant memory, is
// safe beside another run, and skips what it cannot read.
package expiring

import (
	"context"
	"errors"
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
func New(
	store Store, claimer Claimer, deliveries Deliveries, notices Notices, settings Settings, now func() time.Time,
) *Expirer {
	return &Expirer{store, claimer, deliveries, notices, settings, now}
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
	errs := []error{}
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

// slice runs a job in its share of the time that is left, so that none keeps the jobs behind it from running. What a job does
// not need the others may use; one that was cut short goes on once all have had their turn. It reports whether the job came
// to its end. What fails once the time is over fails because of that, in words of its own.
func (e *Expirer) slice(ctx context.Context, job job, sharers int, report *Report) (done bool, err error) {
	deadline, _ := ctx.Deadline() // of Run
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(sharers))
	defer cancel()
	if err = job.run(ctx, report); ctx.Err() != nil {
		return false, nil
	}
	return true, err
}
