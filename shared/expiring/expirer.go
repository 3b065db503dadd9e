// Package expiring is the use case of ExpireDeliveries, the scheduled function: it ends what is over and takes up what
// was lost on the way.
//
// expirer.go runs the jobs one after another within a time limit, deliveries.go expires deliveries and repeats lost
// nudges, requests.go takes up requests whose trigger was lost, stock.go keeps the stock clean, and ports.go is the
// contract with the store. Every job works in bounded batches and in constant memory, and is safe beside another run.
package expiring

import (
	"context"
	"errors"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
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
	Mode          keypackage.Mode
	RequestMaxAge time.Duration // how far back the first walk through the requests begins
}

// New returns an Expirer. now is the clock of the rules; the length of a run is measured by the context's.
func New(
	store Store, claimer Claimer, deliveries Deliveries, notices Notices, settings Settings, now func() time.Time,
) *Expirer {
	return &Expirer{store, claimer, deliveries, notices, settings, now}
}

// Report says what a run did.
type Report struct {
	Returned  int            `json:"returned"` // deliveries expired, their packages back in stock
	Burned    map[string]int `json:"burned"`   // deliveries expired, their packages lost to everybody, by reason
	Reserves  int            `json:"reserves"` // deliveries of reserves expired
	Nudged    int            `json:"nudged"`   // requesters with pending deliveries whose delivery was asked for again
	Recovered int            `json:"taken_up"` // requests whose trigger was lost
	Failed    int            `json:"failed"`   // requests that could not be taken up; the next run tries again
	Removed   int            `json:"removed"`  // expired packages removed from stock
	Retired   int            `json:"retired"`  // exposed packages removed from stock
	Notices   int            `json:"notices"`  // levels of stock that owners were told of
	More      bool           `json:"more"`     // the time was over before the work was
}

// Run does everything once. One job that fails does not keep the others from running; the errors are joined.
func (e *Expirer) Run(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, RunTime)
	defer cancel()
	report := Report{Burned: make(map[string]int)}
	jobs := []func(context.Context, *Report) error{e.expireDeliveries, e.takeUpRequests}
	if e.settings.Mode == keypackage.ModeDeliver {
		jobs = append(jobs, e.repeatNudges, e.removeExpired, e.retireReserves, e.notifyOwners)
	}
	var errs []error
	for _, job := range jobs {
		// What fails once the time is over fails because of that, in words of its own; the next run goes on.
		if err := job(ctx, &report); err != nil && ctx.Err() == nil {
			errs = append(errs, err)
		}
	}
	report.More = ctx.Err() != nil
	return report, errors.Join(errs...)
}
