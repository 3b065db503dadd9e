package keypackage

import (
	"cmp"
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
func (w Window) Count(now time.Time) (total int) {
	for _, m := range w.live(now) {
		total += m.Count
	}
	return total
}

// Add returns the window with n more at now, without the minutes that no longer count. The receiver is not changed.
func (w Window) Add(now time.Time, n int) Window {
	live, start := w.live(now), now.Truncate(time.Minute).Unix()
	if i := slices.IndexFunc(live, func(m Minute) bool { return m.Start == start }); i >= 0 {
		live[i].Count += n
		return Window{live}
	}
	return Window{append(live, Minute{Start: start, Count: n})}
}

// RetryAt returns when the count falls below limit, if nothing is added. It is now when it already is.
func (w Window) RetryAt(now time.Time, limit int) time.Time {
	at, count := now, w.Count(now)
	for _, m := range w.live(now) {
		if count < limit {
			break
		}
		at, count = m.end(), count-m.Count
	}
	return at
}

// live returns a copy of the minutes that still count, oldest first.
func (w Window) live(now time.Time) []Minute {
	live := slices.DeleteFunc(slices.Clone(w.Minutes), func(m Minute) bool { return !m.end().After(now) })
	slices.SortFunc(live, func(a, b Minute) int { return cmp.Compare(a.Start, b.Start) })
	return live
}

func (m Minute) end() time.Time { return time.Unix(m.Start, 0).Add(time.Minute + windowLength).UTC() }
