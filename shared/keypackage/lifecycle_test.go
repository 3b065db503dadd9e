package keypackage_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func same(a, b *keypackage.Delivery) bool { return reflect.DeepEqual(a, b) }

// life is a delivery and its history: what somebody who saw everything would know.
type life struct {
	*keypackage.Delivery
	now      time.Time
	pushes   []keypackage.PushResult // by number: the answer that was recorded while it was the push under way, "" if none was
	answered []keypackage.PushResult // by number: the answer that its writer got, "" if it never came back
	ended    *keypackage.Delivery
}

// begin lets a worker win the conditional write, and decides what its push will come to.
func (l *life) begin(t *rapid.T) {
	if !l.Pushable(l.now) {
		return
	}
	if l.ended != nil || !l.now.Before(l.ExpiresAt) {
		t.Fatalf("pushable at %v in state %s, end %v", l.now, l.State, l.ExpiresAt)
	}
	l.BeginPush(l.now, "holder", keypackage.Lease)
	l.pushes = append(l.pushes, "")
	l.answered = append(l.answered, rapid.SampledFrom(append(results(), "")).Draw(t, "answer"))
}

// record lets the worker of any push, the last or an earlier one, save its answer, perhaps once more.
func (l *life) record(t *rapid.T) {
	if len(l.pushes) == 0 {
		return
	}
	i := rapid.IntRange(0, len(l.pushes)-1).Draw(t, "push")
	if l.answered[i] == "" {
		return // its worker crashed
	}
	current := i == len(l.pushes)-1 && l.State == keypackage.StateSending
	l.Finish(i+1, l.answered[i], l.now)
	if current {
		l.pushes[i] = l.answered[i]
	}
	if l.ended == nil && l.State == keypackage.StateDelivered {
		if l.answered[i] != keypackage.ResultDelivered {
			t.Fatalf("delivered by the answer %q", l.answered[i])
		}
		l.end()
	}
}

func (l *life) expire(t *rapid.T) {
	if l.ended != nil {
		return
	}
	if l.now.Before(l.DueAt()) {
		l.now = l.DueAt()
	}
	tombstoned := rapid.Bool().Draw(t, "tombstoned")
	mayReturn := !l.Reserve && !tombstoned && l.PackageExpires.After(l.now) && l.certainlyUnseen()
	l.Expire(tombstoned, l.now)
	if returned := l.Reason == keypackage.ExpiredReturned; returned != mayReturn {
		t.Fatalf("expired as %q after the pushes %q", l.Reason, l.pushes)
	}
	l.end()
}

// certainlyUnseen is the promise in its own words: every push was recorded as a definite negative, and none was answered
// unknown_event or rejected.
func (l *life) certainlyUnseen() bool {
	for _, result := range l.pushes {
		switch result {
		case keypackage.ResultNoSession, keypackage.ResultNoSubscription, keypackage.ResultNotSent,
			keypackage.ResultRefused, keypackage.ResultMisplaced, keypackage.ResultTooLarge:
		default:
			return false
		}
	}
	return true
}

func (l *life) end() {
	copied := *l.Delivery
	l.ended = &copied
}

// check holds after every step.
func (l *life) check(t *rapid.T, before keypackage.Delivery) {
	if before.ExposureUnknown && !l.ExposureUnknown || before.Parked && !l.Parked {
		t.Fatalf("a mark that stays for good is gone: %+v", l.Delivery)
	}
	if before.PushNo > l.PushNo || l.PushNo != len(l.pushes) {
		t.Fatalf("push number %d after %d pushes", l.PushNo, len(l.pushes))
	}
	if l.ended == nil {
		return
	}
	want := *l.ended
	if want.State == keypackage.StateExpired {
		want.LastResult = l.LastResult
	}
	if !same(l.Delivery, &want) {
		t.Fatalf("after the end: %+v, was %+v", l.Delivery, &want)
	}
}

// Whatever workers, clocks and crashes do, a package returns exactly if it is certain that nobody saw it, and what has
// ended stays as it is.
func TestLifeOfADelivery(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := &life{Delivery: pending(), now: now}
		l.Reserve = rapid.IntRange(0, 5).Draw(t, "reserve") == 0
		l.PackageExpires = rapid.SampledFrom([]time.Time{now.Add(time.Hour), l.ExpiresAt}).Draw(t, "package expires")
		step := func(action func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				before := *l.Delivery
				action(t)
				l.check(t, before)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin":  step(l.begin),
			"record": step(l.record),
			"join": step(func(t *rapid.T) {
				if l.Joinable(l.now) {
					l.Join(rapid.SampledFrom([]string{"r", "s", "u"}).Draw(t, "request"))
				}
			}),
			"wait": step(func(t *rapid.T) {
				l.now = l.now.Add(rapid.SampledFrom([]time.Duration{keypackage.Lease, time.Second, time.Minute}).Draw(t, "time"))
			}),
		})
		step(l.expire)(t)
		for range l.pushes { // late answers
			step(l.record)(t)
		}
	})
}
