package delivering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A relay's bad minute is not made worse: after the first push that fails, the message makes no other, not even one that
// only tells the outcome.
func TestFirstFailedPushIsTheLast(t *testing.T) {
	t.Parallel()
	for _, whole := range []keypackage.PushResult{
		keypackage.ResultUnclear, keypackage.ResultRefused, keypackage.ResultMisplaced, keypackage.ResultUnexpected,
	} {
		inWorld(t, page+1, func(s *world) {
			for i := range 12 {
				s.add(delivery(i, fmt.Sprint("other", i)))
			}
			s.relay.answer = failing(whole)
			_, err := s.ForRequest(s.Context(), request("r"))
			if len(s.relay.pushes) != 1 || fault.IsRetryable(err) != whole.Retry() {
				s.Errorf("%s: %d pushes for a request, %v", whole, len(s.relay.pushes), err)
			}
			s.relay.pushes = nil
			_, err = s.ForRequester(s.Context(), "alice")
			if len(s.relay.pushes) != 1 || fault.IsRetryable(err) || fault.Reason(err) != LeftToTick || !errors.Is(err, errNoAnswer) {
				s.Errorf("%s: %d pushes for a requester, %v", whole, len(s.relay.pushes), err)
			}
		})
	}
}

// However slow the relay is, a message is done before its invocation is cut off.
func TestMessageHasABudgetOfTime(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		for i := range 24 {
			s.add(delivery(i, fmt.Sprint("r", i)))
		}
		s.relay.answer = func(ctx context.Context, push Push) Results {
			time.Sleep(keypackage.PushTimeout - time.Second) // it answers, just so
			return delivered(ctx, push)
		}
		begun := time.Now()
		result, err := s.ForRequester(s.Context(), "alice")
		if took := time.Since(begun); took >= time.Minute || result.Delivered == 0 || fault.Reason(err) != LeftToTick {
			s.Errorf("took %v for %+v, %v", took, result, err)
		}
	})
	inWorld(t, 1, func(s *world) {
		s.change("r_k00", func(d *keypackage.Delivery) { d.BeginPush(time.Now(), "another", time.Hour) })
		begun := time.Now()
		if _, err := s.ForRequest(s.Context(), request("r")); !fault.IsRetryable(err) || time.Since(begun) > time.Minute {
			s.Errorf("waited %v for a lease, %v", time.Since(begun), err)
		}
	})
}

// The end of somebody else's push is looked for in one document, with growing pauses.
func TestWaitingForALeaseReadsLittle(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		for i := range page {
			s.add(delivery(i, "r", leased))
		}
		reads := 0
		s.fault = func(call string, done bool) error {
			if call == "Deliveries" && done {
				reads++
			}
			return nil
		}
		if result, err := s.ForRequest(s.Context(), request("r")); err != nil || result.Delivered != page {
			s.Errorf("got %+v, %v", result, err)
		}
		if reads > 20 {
			s.Errorf("%d reads in the wait for one lease", reads)
		}
		if s.largest != page || s.read > 2*page+20 {
			s.Errorf("read %d deliveries, at most %d at a time", s.read, s.largest)
		}
	})
}

// A push that the relay finds too large goes in parts, under the same lease, as small as they have to be.
func TestTooLargeIsSplit(t *testing.T) {
	t.Parallel()
	inWorld(t, 7, func(s *world) {
		s.relay.answer = func(ctx context.Context, push Push) Results {
			if len(push.Deliveries) > 2 || slices.ContainsFunc(push.Deliveries, huge) && len(push.Deliveries) > 1 {
				return failing(keypackage.ResultTooLarge)(ctx, push)
			}
			if huge(push.Deliveries[0]) {
				return failing(keypackage.ResultTooLarge)(ctx, push)
			}
			return delivered(ctx, push)
		}
		result, err := s.ForRequest(s.Context(), request("r"))
		if err != nil || result.Delivered != 6 || result.Failed != 1 || !slices.Contains(result.Alerts, "too_large") {
			s.Errorf("got %+v, %v", result, err)
		}
		told := 0
		for _, push := range s.relay.pushes {
			if len(push.Outcome) > 0 && len(push.Deliveries) < 3 {
				told++
			}
		}
		if told != 1 {
			s.Errorf("the outcome went along with %d pushes that arrived", told)
		}
		for id, d := range s.deliveries {
			if d.PushNo != 1 || d.ExposureUnknown || (d.State == keypackage.StatePending) != huge(&d) {
				s.Errorf("%s is %+v", id, d)
			}
		}
	})
}

func huge(d *keypackage.Delivery) bool { return d.PackageID == "k03" }

// A part that fails is the last one, too; what was not sent is recorded as such.
func TestSplitStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	inWorld(t, 4, func(s *world) {
		s.relay.answer = func(ctx context.Context, push Push) Results {
			if len(push.Deliveries) > 2 {
				return failing(keypackage.ResultTooLarge)(ctx, push)
			}
			return failing(keypackage.ResultUnclear)(ctx, push)
		}
		_, err := s.ForRequest(s.Context(), request("r"))
		burned := 0
		for _, d := range s.deliveries {
			if d.ExposureUnknown {
				burned++
			}
		}
		if len(s.relay.pushes) != 2 || burned != 2 || fault.Reason(err) != string(keypackage.ResultUnclear) {
			s.Errorf("%d pushes, %d may be exposed, %v", len(s.relay.pushes), burned, err)
		}
	})
}

// Open deliveries are read page by page, and the outcome of a request that lies on two pages is told once.
func TestOpenDeliveriesAreReadInPages(t *testing.T) {
	t.Parallel()
	inWorld(t, 2*page+1, func(s *world) {
		result, err := s.ForRequester(s.Context(), "alice")
		if err != nil || result.Delivered != 2*page+1 || s.largest > page {
			s.Errorf("got %+v, %v, %d read at a time", result, err, s.largest)
		}
		told := 0
		for _, push := range s.relay.pushes {
			told += len(push.Outcome)
		}
		if told != 1 {
			s.Errorf("the outcome was told %d times", told)
		}
	})
}

// A request may be granted more than should be held in memory at once: it is read in pages, too.
func TestGrantedDeliveriesAreReadInPages(t *testing.T) {
	t.Parallel()
	inWorld(t, 3*page, func(s *world) {
		named := []string{"k00", "k01"}
		a := keypackage.Announcement{RequestID: "r", Granted: map[string][]string{"bob": named}}
		result, err := s.ForRequest(s.Context(), a)
		if err != nil || result.Delivered != 3*page || s.largest != page || s.read != 3*page-len(named) {
			s.Errorf("got %+v, %v, %d read at a time, %d altogether", result, err, s.largest, s.read)
		}
		s.relay.pushes, s.largest = nil, 0
		result, err = s.Repeat(s.Context(), s.refs())
		repeated := 0
		for _, push := range s.relay.pushes {
			repeated += len(push.Deliveries)
		}
		if err != nil || result.Delivered != 0 || repeated != 3*page || s.largest != page {
			s.Errorf("repeated %d, %+v, %v, %d read at a time", repeated, result, err, s.largest)
		}
	})
}

// What was delivered is sent to its requester again until its end: no lease, no record, and nothing else goes along.
func TestRepeat(t *testing.T) {
	t.Parallel()
	inWorld(t, 6, func(s *world) {
		for _, id := range []string{"r_k00", "r_k01", "r_k02"} {
			s.change(id, func(d *keypackage.Delivery) { d.Finish(0, keypackage.ResultDelivered, time.Now()) })
		}
		s.tombstones["k01"] = true
		s.change("r_k02", func(d *keypackage.Delivery) { d.ExpiresAt = time.Now() })
		s.change("r_k03", func(d *keypackage.Delivery) { d.State = keypackage.StateExpired })
		s.change("r_k04", leased)
		writes := s.writes
		result, err := s.Repeat(s.Context(), s.refs())
		if err != nil || result.Delivered+len(result.Latencies) > 0 || len(s.relay.pushes) != 1 || s.writes != writes {
			s.Fatalf("got %+v, %v after %d writes", result, err, s.writes-writes)
		}
		push := s.relay.pushes[0]
		if len(push.Deliveries) != 1 || push.Deliveries[0].ID != "r_k00" || len(push.Outcome) > 0 || push.RequestID != "r" {
			s.Errorf("repeated %+v", push)
		}
		s.relay.answer = failing(keypackage.ResultRefused)
		if _, err := s.Repeat(s.Context(), s.refs()); !fault.IsRetryable(err) || s.writes != writes {
			s.Errorf("a repetition that fails: %v after %d writes", err, s.writes-writes)
		}
	})
}
