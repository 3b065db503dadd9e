package keypackage

import (
	"slices"
	"time"
)

// Window counts what happened in the last hour, by the minute, so that its size is bounded whatever the limit is. A minute
// counts until all of it is more than an hour ago: the count may be too high for a minute, never too low.
type Window struct {
	Minutes []Minute `firestore:"minutes"`
}

// Minute is the count of one minute of Unix time.
type Minute struct {
	Start int64 `firestore:"start"` // Unix seconds, a multiple of 60
	Count int   `firestore:"count"`
}

const windowLength = time.Hour

// Count returns how many were counted in the hour before now.
func (w Window) Count(now time.Time) int {
	total := 0
	for _, m := range w.Minutes {
		if m.liveAt(now) {
			total += m.Count
		}
	}
	return total
}

// Add returns the window with n more at now, without the minutes that no longer count. The receiver is not changed.
func (w Window) Add(now time.Time, n int) Window {
	live := make([]Minute, 0, len(w.Minutes)+1)
	for _, m := range w.Minutes {
		if m.liveAt(now) {
			live = append(live, m)
		}
	}
	start := now.Truncate(time.Minute).Unix()
	if i := slices.IndexFunc(live, func(m Minute) bool { return m.Start == start }); i >= 0 {
		live[i].Count += n
	} else {
		live = append(live, Minute{Start: start, Count: n})
	}
	return Window{Minutes: live}
}

// RetryAt returns when the count falls below limit, if nothing is added. It is now when it already is.
func (w Window) RetryAt(now time.Time, limit int) time.Time {
	minutes := slices.Clone(w.Minutes)
	slices.SortFunc(minutes, func(a, b Minute) int { return int(a.Start - b.Start) })
	at, count := now, w.Count(now)
	for _, m := range minutes {
		if count < limit {
			break
		}
		if m.liveAt(now) {
			at, count = m.end(), count-m.Count
		}
	}
	return at
}

func (m Minute) end() time.Time { return time.Unix(m.Start, 0).Add(time.Minute + windowLength).UTC() }

func (m Minute) liveAt(now time.Time) bool { return m.end().After(now) }
