package delivering

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// If the write that allows a push ends in an error it may have succeeded. Whoever then finds its own name on the lease goes
// on: one push, and nothing burned.
func TestOwnLeaseIsFoundAgain(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{errAway, keypackage.ErrConflict} {
		for _, persisted := range []bool{false, true} {
			inWorld(t, 0, func(s *world) {
				for i := range 3 { // in two batches
					s.add(delivery(i, "r", func(d *keypackage.Delivery) {
						d.Package = keypackage.Document{"event": strings.Repeat("x", batchBytes/2)}
					}))
				}
				s.answers["r"].Claims[0].Authentic = false
				s.fault = faulty("BeginPush", persisted, failure, 1)
				begun := time.Now()
				if _, err := s.ForRequest(s.Context(), request("r")); err != nil || len(s.relay.pushes) != 2 {
					s.Errorf("%v, persisted %v: %v after %d pushes", failure, persisted, err, len(s.relay.pushes))
				}
				for id, d := range s.deliveries {
					if d.State != keypackage.StateDelivered || d.PushNo != 1 || d.ExposureUnknown {
						s.Errorf("%v, persisted %v: %s is %+v", failure, persisted, id, d)
					}
				}
				if waited := time.Since(begun); waited >= time.Second {
					s.Errorf("%v, persisted %v: waited %v", failure, persisted, waited)
				}
			})
		}
	}
}

// While the store fails on, nothing is sent and nothing denied, and the message comes again.
func TestLeaseThatStaysUncertain(t *testing.T) {
	t.Parallel()
	for _, persisted := range []bool{false, true} {
		inWorld(t, 1, func(s *world) {
			begin := faulty("BeginPush", persisted, errAway, 1000)
			gone := false
			s.fault = func(call string, done bool) error {
				if call == "BeginPush" {
					gone = true
					return begin(call, done)
				}
				if gone && call == "Deliveries" && persisted {
					return errAway
				}
				return nil
			}
			if _, err := s.ForRequest(s.Context(), request("r")); !fault.IsRetryable(err) || len(s.relay.pushes) > 0 {
				s.Errorf("persisted %v: %v, pushed %v", persisted, err, s.relay.pushes)
			}
			if d := s.get("r_k00"); (d.State == keypackage.StateSending) != persisted || d.LastResult != "" {
				s.Errorf("persisted %v: %+v", persisted, d)
			}
			s.fault = func(string, bool) error { return nil }
			if _, err := s.ForRequest(s.Context(), request("r")); err != nil {
				s.Error(err)
			}
			if d := s.get("r_k00"); d.State != keypackage.StateDelivered || d.ExposureUnknown != persisted {
				s.Errorf("persisted %v, the message again: %+v", persisted, d)
			}
		})
	}
}

// What a claim has begun to push for a holder is pushed by it without another write, and by nobody else.
func TestBegun(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		local := NewLocal(s.memory, s.relay, keypackage.ModeDeliver, time.Now)
		var begun []keypackage.StoredDelivery
		for i := range 2 {
			d := delivery(i, "r")
			d.BeginPush(time.Now(), "gateway", keypackage.LocalLease)
			s.add(d)
			begun = append(begun, s.find(d.ID)...)
		}
		writes := s.writes
		result, err := local.Begun(s.Context(), "gateway", s.answers["r"], begun)
		if err != nil || result.Delivered != 2 || result.Pushes != 1 || s.writes != writes+2 {
			s.Errorf("got %+v, %v after %d writes", result, err, s.writes-writes)
		}
		if d := s.get("r_k00"); d.State != keypackage.StateDelivered || d.PushNo != 1 || d.ExposureUnknown {
			s.Errorf("got %+v", d)
		}
	})
}

// A push into a session of this process has a short time, and its lease a short end.
func TestLocalPushIsShort(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, func(s *world) {
		local := NewLocal(s.memory, s.relay, keypackage.ModeDeliver, time.Now)
		s.relay.answer = func(ctx context.Context, push Push) Results {
			if left := time.Until(s.get("r_k00").LeaseUntil); left != keypackage.LocalLease {
				s.Errorf("the lease lasts %v", left)
			}
			<-ctx.Done()
			return failing(keypackage.ResultUnclear)(ctx, push)
		}
		begun := time.Now()
		if _, err := local.ForRequest(s.Context(), request("r")); !fault.IsRetryable(err) {
			s.Error(err)
		}
		if took := time.Since(begun); took != keypackage.LocalPushTimeout {
			s.Errorf("a session that takes nothing held the push for %v", took)
		}
	})
}

// A relay that hears of nothing but the end of its context cannot make a push outlive the lease: relay.Push accuses.
func TestPushEndsBeforeItsLease(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, func(s *world) {
		s.relay.answer = func(ctx context.Context, push Push) Results {
			<-ctx.Done()
			if !time.Now().Before(s.get("r_k00").LeaseUntil) {
				s.Error("the push outlives its lease")
			}
			return failing(keypackage.ResultUnclear)(ctx, push)
		}
		if _, err := s.ForRequest(s.Context(), request("r")); !fault.IsRetryable(err) || len(s.relay.pushes) != 1 {
			s.Errorf("%v after %d pushes", err, len(s.relay.pushes))
		}
	})
}
