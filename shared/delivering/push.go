package delivering

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

const (
	sendAttempts   = 3  // of a push of which no byte left: it is certain that nobody saw it, so the same lease serves again
	recordAttempts = 10 // far more than a race takes: what is not recorded counts as exposed
)

// Pauses between attempts, in a second or two for the relay and in ten for the store.
var (
	sendPauses  = retry.Doubling(200*time.Millisecond, time.Second)
	storePauses = retry.Doubling(20*time.Millisecond, 2*time.Second)
)

// begin commits the write that allows a push: only the writer who knows that it succeeded may push, and say how that ended. If
// it ends in an error it may have succeeded: then the holder's name, kept until a push has begun, is on the deliveries when
// they are read again. If its lease is over by then (a claim that began the push took long to commit), nothing was sent, and
// that is recorded along with the next push.
func (s *session) begin(ctx context.Context, batch []*keypackage.Delivery) error {
	if s.holder == "" {
		s.holder = rand.Text()
	}
	now := s.now()
	var fresh []*keypackage.Delivery
	for _, d := range batch {
		if !d.HeldBy(s.holder, now) {
			if d.LeaseBy == s.holder {
				d.Finish(d.PushNo, keypackage.ResultNotSent, now)
			}
			d.BeginPush(now, s.holder, s.lease)
			fresh = append(fresh, d)
		}
	}
	if len(fresh) > 0 {
		if err := s.store.BeginPush(ctx, fresh); err != nil {
			return err
		}
	}
	s.holder = ""
	for _, d := range batch {
		s.tried[d.ID] = true
	}
	return nil
}

// send calls the relay with those deliveries that may still be sent, and returns what it came to for each. What is too
// large goes in halves, under the same lease.
func (s *session) send(ctx context.Context, batch []*keypackage.Delivery) map[string]keypackage.PushResult {
	results := make(map[string]keypackage.PushResult, len(batch))
	push := s.push
	for _, d := range batch {
		if now := s.now(); s.failure != nil || !d.MaySend(now, s.timeout) {
			results[d.ID] = keypackage.ResultNotSent
			s.late = s.late || now.Before(d.ExpiresAt)
			continue
		}
		push.Deliveries = append(push.Deliveries, d)
	}
	if len(push.Deliveries) == 0 {
		return results
	}
	answer := s.call(ctx, push)
	if half := len(push.Deliveries) / 2; half > 0 && answer.Whole == keypackage.ResultTooLarge {
		maps.Copy(results, s.send(ctx, push.Deliveries[:half]))
		maps.Copy(results, s.send(ctx, push.Deliveries[half:]))
		return results
	}
	if answer.Whole.Fails() {
		s.failure = failed(answer)
	}
	for _, d := range push.Deliveries {
		results[d.ID] = answer.Of(d.ID)
	}
	return results
}

// call makes the push. It tries again if we know that nothing left, and there is still time.
func (s *session) call(ctx context.Context, push Push) (results Results) {
	_ = retry.Do(ctx, sendPauses, func(attempt int) (bool, error) {
		tooLate := func(d *keypackage.Delivery) bool { return !d.MaySend(s.now(), s.timeout) }
		if attempt > 1 && (!s.now().Before(s.until) || slices.ContainsFunc(push.Deliveries, tooLate)) {
			return false, nil
		}
		results = s.callOnce(ctx, push)
		return results.Whole == keypackage.ResultNotSent && attempt < sendAttempts, nil
	})
	if results.Whole == "" && len(push.Outcome) > 0 {
		s.push.Outcome, s.told[s.push.RequestID] = nil, true
	}
	return results
}

// callOnce bounds the push by the time for which its lease was made.
func (w *work) callOnce(ctx context.Context, push Push) Results {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	if len(push.Deliveries) > 0 { // otherwise the outcome's
		byEnd := func(a, b *keypackage.Delivery) int { return a.ExpiresAt.Compare(b.ExpiresAt) }
		push.ExpiresAt = slices.MinFunc(push.Deliveries, byEnd).ExpiresAt
	}
	w.result.Pushes++
	return w.relay.Push(ctx, push)
}

// record saves how the push ended. What has changed meanwhile (a request joined, it expired) is read again first.
func (s *session) record(ctx context.Context, batch []*keypackage.Delivery, results map[string]keypackage.PushResult) error {
	pushNo := make(map[string]int, len(batch))
	var refs []keypackage.DeliveryRef
	for _, d := range batch {
		pushNo[d.ID], refs = d.PushNo, append(refs, d.Ref())
	}
	return retry.Do(ctx, storePauses, func(attempt int) (again bool, err error) {
		if attempt > 1 {
			batch, err = s.reread(ctx, refs)
		}
		if err == nil {
			changed := slices.DeleteFunc(slices.Clone(batch), func(d *keypackage.Delivery) bool {
				return !d.Finish(pushNo[d.ID], results[d.ID], s.now())
			})
			err = s.store.SaveResults(ctx, changed)
		}
		return err != nil && attempt < recordAttempts, err
	})
}

func (s *session) reread(ctx context.Context, refs []keypackage.DeliveryRef) (batch []*keypackage.Delivery, err error) {
	found, err := s.store.Deliveries(ctx, refs)
	for i := range found {
		batch = append(batch, &found[i].Delivery)
	}
	return batch, err
}

// count keeps what the log needs.
func (w *work) count(d *keypackage.Delivery, result keypackage.PushResult) {
	w.alert(result)
	switch {
	case result == keypackage.ResultDelivered:
		w.result.Delivered++
		w.result.Latencies = append(w.result.Latencies, w.now().Sub(d.RequestedAt))
	case !result.Unseen():
		w.result.Unclear++
	case result.Parks():
		w.result.Parked++
	case result == keypackage.ResultNoSession || result == keypackage.ResultNoSubscription:
		w.result.Waiting++
	default:
		w.result.Failed++
	}
}

func (w *work) alert(result keypackage.PushResult) {
	if result.Alert() {
		w.result.Alerts = append(w.result.Alerts, string(result))
	}
}

// batchBytes bounds one push, so that its results come within the lease. Events are counted as they are stored; the relay
// says if a push is too large for it as it is sent, and then it is split.
const batchBytes = 4 << 20

func batches(ready []*keypackage.Delivery) [][]*keypackage.Delivery {
	var all [][]*keypackage.Delivery
	size := 0
	for _, d := range ready {
		last := len(all) - 1
		if last < 0 || size+len(d.Event()) > batchBytes {
			all, size, last = append(all, nil), 0, last+1
		}
		all[last] = append(all[last], d)
		size += len(d.Event())
	}
	return all
}
