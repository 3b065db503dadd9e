package expiring

import (
	"errors"
	"iter"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

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

// readable goes through what can be read and counts what cannot.
func readable[T any](all iter.Seq2[T, error], report *Report) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for one, err := range all {
			if errors.Is(err, keypackage.ErrUnreadable) {
				report.skip(err)
			} else if !yield(one, err) || err != nil {
				return
			}
		}
	}
}

// batches goes through what can be read, up to n at a time, and counts what cannot.
func batches[T any](all iter.Seq2[T, error], n int, report *Report) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		var batch []T
		for one, err := range readable(all, report) {
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
