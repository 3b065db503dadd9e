package retry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errAway = errors.New("away")

func TestDoubling(t *testing.T) {
	t.Parallel()
	pauses := Doubling(100*time.Millisecond, time.Second)
	var got []time.Duration
	for attempt := 1; attempt <= 6; attempt++ {
		got = append(got, pauses(attempt)/time.Millisecond)
	}
	if want := []time.Duration{100, 200, 400, 800, 1000, 1000}; !slices.Equal(got, want) {
		t.Errorf("got %v ms, want %v", got, want)
	}
	if got := Doubling(time.Minute, time.Second)(1); got != time.Second {
		t.Errorf("the first pause is %v, longer than the longest", got)
	}
	if got := pauses(1 << 20); got != time.Second {
		t.Errorf("the pause after many attempts is %v", got)
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var attempts []int
		err := Do(t.Context(), Doubling(time.Second, time.Minute), func(attempt int) (bool, error) {
			attempts = append(attempts, attempt)
			return attempt < 3, errAway
		})
		if !errors.Is(err, errAway) || !slices.Equal(attempts, []int{1, 2, 3}) {
			t.Errorf("attempts %v ended with %v", attempts, err)
		}
		if waited := time.Since(begun); waited != 3*time.Second {
			t.Errorf("waited %v, want no pause after the last attempt", waited)
		}
		if err := Do(t.Context(), Doubling(time.Second, time.Minute), func(int) (bool, error) { return false, nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		attempts := 0
		err := Do(ctx, Doubling(time.Minute, time.Minute), func(int) (bool, error) { attempts++; return true, errAway })
		if attempts != 2 || !errors.Is(err, errAway) {
			t.Errorf("%d attempts in 90 s, and then %v: want the failure, not the context's end", attempts, err)
		}
	})
}
