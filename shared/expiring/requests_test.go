package expiring

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A request whose trigger was lost is taken up once its trigger had its moment; one that has an answer is left alone.
func TestLostTriggers(t *testing.T) {
	t.Parallel()
	for _, mode := range []keypackage.Mode{keypackage.ModeObserve, keypackage.ModeDeliver} {
		inWorld(t, func(w *world) {
			lost, taken := w.receive(), w.receive()
			w.answered[taken] = true
			time.Sleep(sweepBehind - time.Second)
			if report := w.run(mode); report.Recovered != 0 {
				w.Errorf("mode %s, too early: %+v", mode, report)
			}
			time.Sleep(time.Second)
			if report := w.run(mode); report.Recovered != 1 || !w.answered[lost] {
				w.Errorf("mode %s: %+v", mode, report)
			}
			if report := w.run(mode); report.Recovered != 0 || !w.sweep.Cursor.Equal(time.Now().Add(-sweepBehind)) {
				w.Errorf("mode %s, again: %+v, cursor %v ago", mode, report, time.Since(w.sweep.Cursor))
			}
		})
	}
}

// The first run looks back only as far as anybody may be waiting, and the overlap.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		old := w.receive()
		time.Sleep(5 * time.Minute)
		recent := w.receive()
		time.Sleep(maxAge + sweepOverlap - 5*time.Minute)
		if w.run(keypackage.ModeDeliver); w.answered[old] || !w.answered[recent] {
			w.Errorf("taken up: %v", w.answered)
		}
	})
}

// The clocks of relays differ: a request may turn up behind the cursor, within the overlap.
func TestLateReceipt(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.run(keypackage.ModeDeliver)
		time.Sleep(time.Minute)
		w.run(keypackage.ModeDeliver)
		late := w.receive()
		w.requests[0].ReceivedAt = w.sweep.Cursor.Add(-sweepOverlap + time.Second)
		if report := w.run(keypackage.ModeDeliver); !w.answered[late] || report.Recovered != 1 {
			w.Errorf("got %+v", report)
		}
	})
}

// The cursor waits for a request that fails, while others are taken up; when that request is stale it gets its record.
func TestCursorWaitsForAFailingRequest(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.run(keypackage.ModeDeliver)
		time.Sleep(time.Second)
		failing := w.receive()
		w.failing[failing] = true
		received := time.Now()
		for time.Since(received) < maxAge {
			time.Sleep(time.Minute)
			other := w.receive()
			time.Sleep(time.Minute)
			if report := w.run(keypackage.ModeDeliver); !w.answered[other] || (report.Failed != 1) == !w.answered[failing] {
				w.Errorf("%v later: %+v", time.Since(received), report)
			}
			if w.sweep.Cursor.After(received) && !w.answered[failing] {
				w.Errorf("the cursor has passed it: %v", w.sweep.Cursor)
			}
		}
		time.Sleep(time.Minute)
		if w.run(keypackage.ModeDeliver); !w.answered[failing] || !w.sweep.Cursor.After(received) {
			w.Errorf("answered %v, cursor %v after it", w.answered[failing], w.sweep.Cursor.Sub(received))
		}
	})
}

// What was received in mode off is left alone for good, and what was received before and after is not.
func TestModeOff(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		minutes := func(n int, mode keypackage.Mode) {
			for range n {
				w.run(mode)
				time.Sleep(time.Minute)
			}
		}
		minutes(2, keypackage.ModeDeliver)
		before := w.receive()
		time.Sleep(time.Second)
		minutes(3, keypackage.ModeOff)
		during := []string{w.receive()}
		minutes(40, keypackage.ModeOff)
		during = append(during, w.receive())
		minutes(1, keypackage.ModeOff)
		w.run(keypackage.ModeOff)
		time.Sleep(time.Second)
		after := w.receive()
		minutes(30, keypackage.ModeDeliver)
		if !w.answered[before] || !w.answered[after] || w.answered[during[0]] || w.answered[during[1]] {
			w.Errorf("answered %v; received in mode off: %v", w.answered, during)
		}
		if len(w.sweep.Off) > 0 || time.Since(w.sweep.Cursor) > 2*time.Minute {
			w.Errorf("still remembered: %+v", w.sweep)
		}
	})
}

func TestManyRequestsInOneRun(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for i := range 3 * sweepBatch {
			w.receive()
			if i%7 == 0 { // many have the same time of receipt
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Minute)
		if report := w.run(keypackage.ModeDeliver); report.Recovered != 3*sweepBatch || len(w.answered) != 3*sweepBatch {
			w.Errorf("got %+v", report)
		}
	})
}

// Two runs beside each other: the slower one leaves the cursor to the faster one.
func TestRunsBesideEachOther(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.run(keypackage.ModeDeliver)
		for range 20 {
			w.receive()
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		w.fault = func(call string) error {
			if call == "TakeUp" {
				time.Sleep(time.Duration(1+rand.IntN(3)) * time.Second)
			}
			return nil
		}
		done := make(chan struct{})
		for range 3 {
			go func() {
				w.run(keypackage.ModeDeliver)
				done <- struct{}{}
			}()
		}
		for range 3 {
			<-done
		}
		if len(w.answered) != 20 {
			w.Errorf("%d of 20 answered", len(w.answered))
		}
	})
}

// Any mix of modes, failures of store and claimer, and times of receipt: every request gets its answer, except those
// received in mode off. The cursor never moves back (see SaveSweep).
func TestEveryRequestIsAnswered(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		inWorld(t, func(w *world) {
			modes := []keypackage.Mode{keypackage.ModeDeliver, keypackage.ModeDeliver, keypackage.ModeObserve, keypackage.ModeOff}
			mode := keypackage.ModeDeliver
			w.run(mode)
			owed := make(map[string]bool)
			trouble := true
			w.fault = func(call string) error {
				if trouble && call != "TakeUp" && random.IntN(15) == 0 {
					return errAway
				}
				return nil
			}
			for range 60 {
				for range random.IntN(4) {
					id := w.receive()
					owed[id] = mode != keypackage.ModeOff
					w.failing[id] = random.IntN(5) == 0
					time.Sleep(time.Duration(random.IntN(14)+1) * time.Second)
				}
				_, _ = w.expirer(mode).Run(w.Context())
				time.Sleep(time.Second)
				if random.IntN(8) == 0 {
					mode, trouble = modes[random.IntN(len(modes))], false
					w.run(mode) // a change that no run sees is not seen
					trouble = true
					time.Sleep(time.Second)
				}
			}
			trouble = false
			for range 40 {
				w.run(keypackage.ModeDeliver)
				time.Sleep(time.Minute)
			}
			for id, is := range owed {
				if is && !w.answered[id] {
					w.Errorf("seed %d: %s has no answer; sweep %+v", seed, id, w.sweep)
				}
			}
		})
	}
}
