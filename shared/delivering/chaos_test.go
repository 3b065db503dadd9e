package delivering

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Workers that race, crash and lose answers, a database and a relay that fail at any moment: a package returns to stock
// only if it never reached the requester, and nothing is pushed when it must not be (see relay.Push).
func TestChaos(t *testing.T) {
	t.Parallel()
	reasons := make(map[string]int)
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			random := &dice{source: rand.New(rand.NewPCG(seed, 0))}
			calm := seed%3 == 0 // then the database works
			for i := range 1 + random.IntN(4) {
				m.add(delivery(i, fmt.Sprint("r", i%2)))
			}
			r := newRelay(m)
			r.answer = r.moody(random)
			m.fault = func(_ string, _ bool) error {
				switch n := random.IntN(20); {
				case n == 0 && !calm:
					return errAway
				case n == 1 && !calm:
					return keypackage.ErrConflict
				}
				return nil
			}
			workers := []*Deliverer{
				New(m, r, keypackage.ModeDeliver, time.Now), NewLocal(m, r, keypackage.ModeDeliver, time.Now),
			}
			for range 2 + random.IntN(6) {
				d := workers[random.IntN(len(workers))]
				go func() {
					for range 3 {
						time.Sleep(time.Duration(random.IntN(100)) * time.Second)
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(60))*time.Second)
						switch request := request(fmt.Sprint("r", random.IntN(2))); random.IntN(5) {
						case 0, 1:
							_, _ = d.ForRequest(ctx, request)
						case 2, 3:
							_, _ = d.ForRequester(ctx, "alice")
						case 4:
							_, _ = d.Repeat(ctx, m.refs())
						}
						cancel()
					}
				}()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			for id, delivery := range m.deliveries {
				if delivery.Open() {
					delivery.Expire(false, delivery.DueAt())
				}
				reasons[delivery.Reason]++
				if delivery.Reason == keypackage.ExpiredReturned && r.seen[id] {
					t.Errorf("seed %d: %s has reached the requester, and returns to stock: %+v", seed, id, delivery)
				}
			}
		})
	}
	for _, reason := range []string{"", keypackage.ExpiredReturned, keypackage.ExpiredExposureUnknown, keypackage.ExpiredParked} {
		if reasons[reason] < 10 {
			t.Errorf("only %d deliveries ended as %q: %v", reasons[reason], reason, reasons)
		}
	}
}

// dice are random numbers for several goroutines.
type dice struct {
	mu     sync.Mutex
	source *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.source.IntN(n)
}

// moody answers each push in any way, after any time that a relay may take, and says nothing false. What it leaves unclear
// may have reached the requester.
func (r *relay) moody(random *dice) func(context.Context, Push) Results {
	return func(ctx context.Context, push Push) Results {
		ends, _ := ctx.Deadline()
		time.Sleep(time.Duration(random.IntN(max(1, int(time.Until(ends))))))
		r.mu.Lock()
		defer r.mu.Unlock()
		wholes := []keypackage.PushResult{
			"", "", "", keypackage.ResultUnclear, keypackage.ResultUnexpected, keypackage.ResultNotSent, keypackage.ResultRefused,
			keypackage.ResultMisplaced, keypackage.ResultTooLarge,
		}
		results := Results{Each: make(map[string]keypackage.PushResult)}
		if results.Whole = wholes[random.IntN(len(wholes))]; results.Whole != "" {
			results.Err = errNoAnswer
		}
		for _, d := range push.Deliveries {
			words := []keypackage.PushResult{
				"delivered", "no_session", "no_session", "no_session", "no_subscription", "unknown", "unknown_event", "rejected", "",
			}
			if results.Whole == "" {
				results.Each[d.ID] = words[random.IntN(len(words))]
			}
			if !results.Of(d.ID).Unseen() && random.IntN(2) == 0 {
				r.seen[d.ID] = true
			}
		}
		return results
	}
}
