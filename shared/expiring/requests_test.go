package expiring

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A request whose trigger was lost is recovered once its trigger had its moment; one without a mark has its answer.
func TestLostTriggers(t *testing.T) {
	t.Parallel()
	for _, mode := range []keypackage.Mode{keypackage.ModeObserve, keypackage.ModeDeliver} {
		inWorld(t, func(w *world) {
			lost, taken := w.receive(), w.receive()
			w.unmarked[taken] = true
			time.Sleep(recoverAfter - time.Second)
			if report := w.run(mode); report.Recovered != 0 {
				w.Errorf("mode %s, too early: %+v", mode, report)
			}
			time.Sleep(time.Second)
			if report := w.run(mode); report.Recovered != 1 || !w.answered[lost] || w.answered[taken] {
				w.Errorf("mode %s: %+v", mode, report)
			}
			if report := w.run(mode); report.Recovered != 0 {
				w.Errorf("mode %s, again: %+v", mode, report)
			}
		})
	}
}

// A request that fails keeps its mark and nobody waits for it, not even those that the run meets later.
func TestFailingRequestStopsNobody(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		failing := w.receive()
		w.failing[failing] = true
		received := time.Now()
		for time.Since(received) < maxAge {
			other := w.receive()
			time.Sleep(time.Minute)
			if report := w.run(keypackage.ModeDeliver); report.Failed != 1 || !w.answered[other] || w.unmarked[failing] {
				w.Errorf("%v later: %+v", time.Since(received), report)
			}
		}
		time.Sleep(time.Minute)
		if w.run(keypackage.ModeDeliver); !w.answered[failing] {
			w.Error("past its age it has no answer")
		}
	})
}

// What cannot be read is counted as long as somebody may wait for it, and then loses its mark.
func TestUnreadableRequests(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		unreadable, other := w.receive(), w.receive()
		w.broken["record of "+unreadable] = true
		time.Sleep(time.Minute)
		if report := w.run(keypackage.ModeDeliver); report.Unreadable != 1 || report.Dismissed != 0 || !w.answered[other] || w.unmarked[unreadable] {
			w.Errorf("got %+v", report)
		}
		time.Sleep(maxAge)
		if report := w.run(keypackage.ModeDeliver); report.Unreadable != 1 || report.Dismissed != 1 || !w.unmarked[unreadable] {
			w.Errorf("past its age: %+v", report)
		}
		if report := w.run(keypackage.ModeDeliver); report.Unreadable+report.Dismissed != 0 {
			w.Errorf("again: %+v", report)
		}
	})
}

// The trigger may sit on a collection of all events: what is no request is not asked about again.
func TestMarkOfAnotherKind(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		id := w.receive()
		w.requests[0].Kind = 1
		time.Sleep(time.Minute)
		if report := w.run(keypackage.ModeDeliver); report.Dismissed != 1 || w.answered[id] || !w.unmarked[id] {
			w.Errorf("got %+v", report)
		}
	})
}

// What was received in mode off is left alone for good, except what came in its last moments, and what was begun before.
func TestModeOff(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		begun := w.receive()
		w.begun[begun] = true
		var during []string
		for range 3 {
			during = append(during, w.receive())
			time.Sleep(time.Minute)
			if report := w.run(keypackage.ModeOff); report.Dismissed != 1 || report.Recovered != 0 {
				w.Errorf("in mode off: %+v", report)
			}
		}
		last := w.receive()
		time.Sleep(recoverAfter - time.Second)
		if report := w.run(keypackage.ModeOff); report.Dismissed != 0 {
			w.Errorf("too early: %+v", report)
		}
		time.Sleep(time.Minute)
		if report := w.run(keypackage.ModeDeliver); report.Recovered != 2 || !w.answered[last] || !w.answered[begun] {
			w.Errorf("in mode deliver again: %+v", report)
		}
		for _, id := range during {
			if w.answered[id] {
				w.Errorf("%s was received in mode off and is answered", id)
			}
		}
	})
}

// As long as the mode is not known, what is over ends, and no request loses its mark.
func TestModeNotKnown(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(1)
		id := w.receive()
		time.Sleep(10 * time.Minute)
		w.fault = func(call string) error {
			if call == "Mode" {
				return errAway
			}
			return nil
		}
		report, err := w.expirer(keypackage.ModeDeliver).Run(w.Context())
		if err == nil || report.Returned != 1 || w.unmarked[id] {
			w.Errorf("got %+v, %v", report, err)
		}
	})
}

// Two runs beside each other answer everything.
func TestRunsBesideEachOther(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for range 20 {
			w.receive()
		}
		time.Sleep(time.Minute)
		w.fault = func(call string) error {
			if call == "Recover" {
				time.Sleep(time.Duration(1+rand.IntN(3)) * time.Second)
			}
			return nil
		}
		done := make(chan struct{})
		for range 3 {
			expirer := w.expirer(keypackage.ModeDeliver)
			go func() {
				if _, err := expirer.Run(w.Context()); err != nil {
					w.Error(err)
				}
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

// Any mix of modes, failures of store and claimer, and times of receipt: every request that was received while the mode was
// not off, and for a minute and a half around it, gets its answer; no mark stays.
func TestEveryRequestIsAnswered(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		inWorld(t, func(w *world) {
			modes := []keypackage.Mode{keypackage.ModeDeliver, keypackage.ModeDeliver, keypackage.ModeObserve, keypackage.ModeOff}
			mode, trouble := keypackage.ModeDeliver, true
			owed := make(map[string]bool)
			var one sync.Mutex // several marks are removed at once
			w.fault = func(call string) error {
				one.Lock()
				defer one.Unlock()
				if trouble && call != "Recover" && random.IntN(15) == 0 {
					return errAway
				}
				return nil
			}
			for range 60 {
				for range random.IntN(4) {
					id := w.receive()
					owed[id] = true
					w.failing[id] = random.IntN(5) == 0
					time.Sleep(time.Duration(random.IntN(14)+1) * time.Second)
				}
				_, _ = w.expirer(mode).Run(w.Context())
				if mode == keypackage.ModeOff { // what has no answer now may lose its mark
					for id := range owed {
						owed[id] = owed[id] && w.answered[id]
					}
				}
				time.Sleep(time.Second)
				if random.IntN(8) == 0 {
					mode = modes[random.IntN(len(modes))]
				}
			}
			trouble = false
			for range 20 {
				w.run(keypackage.ModeDeliver)
				time.Sleep(time.Minute)
			}
			for id, is := range owed {
				if is && !w.answered[id] || !w.unmarked[id] {
					w.Errorf("seed %d: %s is owed an answer: %v, and has it: %v; its mark is gone: %v", seed, id, is, w.answered[id], w.unmarked[id])
				}
			}
		})
	}
}
