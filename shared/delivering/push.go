package delivering

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// Attempts of a push of which no byte left: it is certain that nobody saw it, so the same lease serves again.
const (
	sendAttempts = 3
	sendPause    = 200 * time.Millisecond
)

// pushBatch makes one push: the conditional write that allows it, the call, and the record of its answers. Only the
// writer whose write is known to have succeeded may push, and nobody else may say how the push ended. If that write ends
// in an error other than a lost race, it may have succeeded: then nothing is sent and nothing is recorded, and the lease
// runs out.
func (s *session) pushBatch(ctx context.Context, batch []*keypackage.Delivery) error {
	now, holder := s.now(), rand.Text()
	for _, d := range batch {
		d.BeginPush(now, holder, keypackage.Lease)
	}
	if err := s.store.BeginPush(ctx, batch); err != nil {
		return err
	}
	pushNo := make(map[string]int, len(batch))
	for _, d := range batch {
		pushNo[d.ID] = d.PushNo
		s.tried[d.ID] = true
	}
	verdicts := s.send(ctx, batch)
	// The answer is recorded even if the caller has gone: what is not recorded counts as exposed.
	return s.record(context.WithoutCancel(ctx), batch, pushNo, verdicts)
}

// send calls the relay with those deliveries that may still be sent, and judges its answer for each.
func (s *session) send(ctx context.Context, batch []*keypackage.Delivery) map[string]keypackage.Verdict {
	verdicts := make(map[string]keypackage.Verdict, len(batch))
	push := s.push
	for _, d := range batch {
		if now := s.now(); !d.MaySend(now, keypackage.PushTimeout) {
			verdicts[d.ID] = keypackage.Verdict{Result: keypackage.ResultNotSent, Retry: now.Before(d.ExpiresAt)}
			continue
		}
		push.Deliveries = append(push.Deliveries, d)
		if push.ExpiresAt.IsZero() || d.ExpiresAt.Before(push.ExpiresAt) {
			push.ExpiresAt = d.ExpiresAt
		}
	}
	if len(push.Deliveries) == 0 {
		return verdicts
	}
	answer := s.call(ctx, push)
	for _, d := range push.Deliveries {
		verdicts[d.ID] = keypackage.Judge(answer.Answer, answer.Statuses[d.ID])
	}
	return verdicts
}

// call makes the push, again if it certainly never left and may still be sent.
func (s *session) call(ctx context.Context, push Push) Answer {
	for attempt := 1; ; attempt++ {
		answer := s.relay.Push(ctx, push)
		s.result.Pushes++
		if answer.Answer != keypackage.AnswerNotSent {
			s.told = s.told || answer.Answer == keypackage.AnswerResults
			return answer
		}
		if attempt == sendAttempts || retry.Pause(ctx, time.Duration(attempt)*sendPause) != nil || !s.maySend(push) {
			return answer
		}
	}
}

func (s *session) maySend(push Push) bool {
	for _, d := range push.Deliveries {
		if !d.MaySend(s.now(), keypackage.PushTimeout) {
			return false
		}
	}
	return true
}

// record saves how the push ended. A delivery may have changed meanwhile: a request joined, or it expired. Then it is
// read again and the answer applied to what it is now.
func (s *session) record(
	ctx context.Context, batch []*keypackage.Delivery, pushNo map[string]int, verdicts map[string]keypackage.Verdict,
) error {
	s.note(batch, verdicts)
	for attempt := 1; ; attempt++ {
		var changed []*keypackage.Delivery
		for _, d := range batch {
			if d.Finish(pushNo[d.ID], verdicts[d.ID].Result, s.now()) {
				changed = append(changed, d)
			}
		}
		err := s.store.SaveResults(ctx, changed)
		if err == nil || attempt == maxConflicts {
			return err
		}
		if !errors.Is(err, keypackage.ErrConflict) {
			if err := retry.Pause(ctx, time.Duration(attempt)*sendPause); err != nil {
				return err
			}
		}
		if batch, err = s.reread(ctx, batch); err != nil {
			return err
		}
	}
}

func (s *session) reread(ctx context.Context, batch []*keypackage.Delivery) ([]*keypackage.Delivery, error) {
	refs := make([]keypackage.DeliveryRef, len(batch))
	for i, d := range batch {
		refs[i] = d.Ref()
	}
	found, err := s.store.Deliveries(ctx, refs)
	again := make([]*keypackage.Delivery, len(found))
	for i := range found {
		again[i] = &found[i].Delivery
	}
	return again, err
}

// note keeps what the log and the acknowledgement need.
func (s *session) note(batch []*keypackage.Delivery, verdicts map[string]keypackage.Verdict) {
	for _, d := range batch {
		v := verdicts[d.ID]
		s.retry = s.retry || v.Retry
		if v.Alert {
			s.result.Alerts = append(s.result.Alerts, v.Result)
		}
		switch v.Result {
		case keypackage.ResultDelivered:
			s.result.Delivered++
			s.result.Latencies = append(s.result.Latencies, s.now().Sub(d.RequestedAt))
		case keypackage.ResultUnknown:
			s.result.Unclear++
		default:
			s.result.Undelivered++
		}
	}
}
