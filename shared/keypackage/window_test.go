package keypackage_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	at := func(minutes, seconds int) time.Time {
		return now.Add(time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second)
	}
	w := keypackage.Window{}.Add(at(0, 10), 2).Add(at(0, 50), 1).Add(at(30, 0), 4)
	for _, tt := range []struct {
		at   time.Time
		want int
	}{
		{at(30, 0), 7}, {at(60, 0), 7}, {at(60, 59), 7}, {at(61, 0), 4}, {at(90, 59), 4}, {at(91, 0), 0},
	} {
		if got := w.Count(tt.at); got != tt.want {
			t.Errorf("at %v: %d, want %d", tt.at.Sub(now), got, tt.want)
		}
	}
	for limit, want := range map[int]time.Time{8: at(40, 0), 7: at(61, 0), 5: at(61, 0), 4: at(91, 0), 1: at(91, 0)} {
		if got := w.RetryAt(at(40, 0), limit); !got.Equal(want) {
			t.Errorf("limit %d: retry at %v, want %v", limit, got.Sub(now), want.Sub(now))
		}
	}
}

func TestWindowIsAValue(t *testing.T) {
	t.Parallel()
	before := keypackage.Window{}.Add(now, 1)
	before.Add(now, 5)
	before.Add(now.Add(time.Minute), 5)
	if before.Count(now) != 1 {
		t.Errorf("adding to a copy changed the window: %d", before.Count(now))
	}
}

// Whenever requests come, those that were let in never exceed the limit in any hour, and one that comes when it was told
// to come again is let in.
func TestWindowNeverExceedsTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		gaps := rapid.SliceOfN(rapid.Int64Range(0, int64(40*time.Minute)), 1, 40).Draw(t, "gaps")
		var w keypackage.Window
		var letIn []time.Time
		at := now
		for _, gap := range gaps {
			at = at.Add(time.Duration(gap))
			if w.Count(at) >= limit {
				retry := w.RetryAt(at, limit)
				if !retry.After(at) || w.Count(retry) >= limit || w.Count(retry.Add(-time.Nanosecond)) < limit {
					t.Fatalf("limited at %v, but told to come again at %v", at, retry)
				}
				if retry.After(at.Add(61 * time.Minute)) {
					t.Fatalf("retry at %v is more than the window away", retry)
				}
				continue
			}
			w, letIn = w.Add(at, 1), append(letIn, at)
			if n := lastHour(letIn, at); n > limit {
				t.Fatalf("%d in the hour before %v, limit %d", n, at, limit)
			}
			if len(w.Minutes) > 61 {
				t.Fatalf("the window has grown to %d entries", len(w.Minutes))
			}
		}
	})
}

// The count is never too low, and too high for less than a minute.
func TestWindowCountsTheLastHour(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w keypackage.Window
		var all []time.Time
		at := now
		for _, gap := range rapid.SliceOfN(rapid.Int64Range(0, int64(30*time.Minute)), 0, 20).Draw(t, "gaps") {
			at = at.Add(time.Duration(gap))
			n := rapid.IntRange(1, 3).Draw(t, "n")
			w = w.Add(at, n)
			for range n {
				all = append(all, at)
			}
		}
		at = at.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "later")))
		low, high := lastHour(all, at), lastHour(all, at.Add(-time.Minute))
		for _, event := range all {
			if event.After(at.Add(-time.Minute)) {
				high++
			}
		}
		if got := w.Count(at); got < low || got > high {
			t.Fatalf("count %d, want %d to %d", got, low, high)
		}
	})
}

// lastHour counts the times in the hour that ends at the given one.
func lastHour(times []time.Time, at time.Time) int {
	n := 0
	for _, event := range times {
		if event.After(at.Add(-time.Hour)) && !event.After(at) {
			n++
		}
	}
	return n
}
