package delivering

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// leased says that another worker is pushing the delivery since a moment.
func leased(d *keypackage.Delivery) { d.BeginPush(time.Now(), "holder", keypackage.Lease) }

// Somebody else's push is waited for, whatever becomes of it, and never acknowledged.
func TestWaitsForTheOtherPush(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		result keypackage.PushResult // what the other records after three seconds; "" if it crashes
		pushes int                   // ours
		state  keypackage.State
		burned bool
	}{
		"delivered": {keypackage.ResultDelivered, 0, keypackage.StateDelivered, false},
		"negative":  {keypackage.ResultNoSession, 1, keypackage.StateDelivered, false},
		"crashed":   {"", 1, keypackage.StateDelivered, true},
	} {
		inWorld(t, 1, func(s *world) {
			s.answers["r"].Claims[0].Authentic = false // no outcome, to count the pushes
			s.change("r_k00", leased)
			lease := s.get("r_k00").LeaseUntil
			if tt.result != "" {
				time.AfterFunc(3*time.Second, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.change("r_k00", func(d *keypackage.Delivery) { d.Finish(1, tt.result, time.Now()) })
				})
			}
			result, err := s.ForRequest(s.Context(), request("r"))
			if err != nil || result.Pushes != tt.pushes {
				s.Errorf("%s: %+v, %v", name, result, err)
			}
			if d := s.get("r_k00"); d.State != tt.state || d.ExposureUnknown != tt.burned {
				s.Errorf("%s: %+v", name, d)
			}
			if crashed := !time.Now().Before(lease); crashed != tt.burned {
				s.Errorf("%s: over %v before the lease's end", name, time.Until(lease))
			}
		})
	}
}

func TestWaitingEndsWithTheInvocation(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, func(s *world) {
		s.change("r_k00", leased)
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		if _, err := s.ForRequest(ctx, request("r")); !fault.IsRetryable(err) || len(s.relay.pushes) > 0 {
			s.Errorf("%v; a live lease must not be acknowledged", err)
		}
	})
}

// The clock is looked at again just before sending: what came too late is recorded as certainly not sent.
func TestTooLateToSend(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		slow  time.Duration // how long the write before the push takes
		ends  time.Duration
		again bool
	}{
		"its end has come":       {3 * time.Second, 2 * time.Second, false},
		"the lease is too short": {6 * time.Second, time.Minute, true},
	} {
		inWorld(t, 1, func(s *world) {
			s.answers["r"].Claims[0].Authentic = false
			s.change("r_k00", func(d *keypackage.Delivery) { d.ExpiresAt = time.Now().Add(tt.ends) })
			s.fault = func(call string, done bool) error {
				if call == "BeginPush" && done {
					time.Sleep(tt.slow)
				}
				return nil
			}
			_, err := s.ForRequest(s.Context(), request("r"))
			d := s.get("r_k00")
			if len(s.relay.pushes) > 0 || d.State != keypackage.StatePending || d.ExposureUnknown || d.LastResult != keypackage.ResultNotSent {
				s.Errorf("%s: pushed %v, %+v", name, s.relay.pushes, d)
			}
			if (err != nil) != tt.again {
				s.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A push of which no byte left is repeated under the same lease, a few times.
func TestNotSentIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, failures := range []int{1, 2, 3} {
		inWorld(t, 1, func(s *world) {
			s.relay.answer = func(ctx context.Context, push Push) Results {
				if len(s.relay.pushes) <= failures {
					return Results{Whole: keypackage.ResultNotSent, Err: errAway}
				}
				return delivered(ctx, push)
			}
			result, err := s.ForRequest(s.Context(), request("r"))
			d := s.get("r_k00")
			if survived := failures < sendAttempts; survived != (err == nil) || survived != (d.State == keypackage.StateDelivered) ||
				d.PushNo != 1 || d.ExposureUnknown {
				s.Errorf("%d failures: %+v, %v, %+v", failures, result, err, d)
			}
		})
	}
}

// While a push is under way a request joins, another worker delivers, or the delivery expires: the answer is applied to
// what the delivery is then.
func TestAnswerMeetsAChangedDelivery(t *testing.T) {
	t.Parallel()
	expire := func(d *keypackage.Delivery) { d.Expire(false, time.Now()) }
	for name, tt := range map[string]struct {
		change func(*keypackage.Delivery)
		result keypackage.PushResult
		check  func(keypackage.Delivery) bool
	}{
		"joined": {func(d *keypackage.Delivery) { d.Join("s") }, "no_session", func(d keypackage.Delivery) bool {
			return d.State == keypackage.StatePending && slices.Equal(d.RequestIDs, []string{"r", "s"}) && !d.ExposureUnknown
		}},
		"expired": {expire, "delivered", func(d keypackage.Delivery) bool {
			return d.State == keypackage.StateExpired && d.LastResult == "delivered" && d.Reason == keypackage.ExpiredExposureUnknown
		}},
		"delivered by another": {
			func(d *keypackage.Delivery) { d.Finish(9, keypackage.ResultDelivered, time.Now()) }, "no_session",
			func(d keypackage.Delivery) bool { return d.State == keypackage.StateDelivered },
		},
		"pushed by another": {
			func(d *keypackage.Delivery) { d.BeginPush(time.Now(), "holder", keypackage.Lease) }, "no_session",
			func(d keypackage.Delivery) bool {
				return d.State == keypackage.StateSending && d.ExposureUnknown && d.PushNo == 2
			},
		},
	} {
		inWorld(t, 1, func(s *world) {
			s.relay.answer = func(ctx context.Context, push Push) Results {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.change("r_k00", tt.change)
				return all(tt.result)(ctx, push)
			}
			if _, err := s.ForRequest(s.Context(), request("r")); err != nil {
				s.Errorf("%s: %v", name, err)
			}
			if d := s.get("r_k00"); !tt.check(d) {
				s.Errorf("%s: %+v", name, d)
			}
		})
	}
}

// What could not be recorded is not acknowledged.
func TestAnswerThatCanNotBeRecorded(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"away": errAway, "always changed": keypackage.ErrConflict} {
		inWorld(t, 1, func(s *world) {
			s.fault = faulty("SaveResults", false, failure, 1000)
			if _, err := s.ForRequest(s.Context(), request("r")); !fault.IsRetryable(err) || len(s.relay.pushes) != 1 {
				s.Errorf("%s: %v after %d pushes", name, err, len(s.relay.pushes))
			}
		})
	}
}

// A store that fails for a moment, before or after its work or when it is read again, costs no package.
func TestAnswerIsRecordedThoughTheStoreFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		call  string
		done  bool
		times int
	}{
		"before":             {"SaveResults", false, recordAttempts - 1},
		"after":              {"SaveResults", true, 1},
		"when it reads":      {"Deliveries", false, recordAttempts - 2},
		"when it reads once": {"Deliveries", false, 1},
	} {
		inWorld(t, 1, func(s *world) {
			a := keypackage.Announcement{RequestID: "r", Granted: map[string][]string{"bob": {"k00"}}} // needs no second read
			s.relay.answer = func(ctx context.Context, push Push) Results {
				first := faulty("SaveResults", false, errAway, 1)
				then := faulty(tt.call, tt.done, errAway, tt.times)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.fault = func(call string, done bool) error {
					if tt.call == "Deliveries" {
						if err := first(call, done); err != nil {
							return err
						}
					}
					return then(call, done)
				}
				return delivered(ctx, push)
			}
			_, err := s.ForRequest(s.Context(), a)
			if d := s.get("r_k00"); err != nil || d.State != keypackage.StateDelivered || d.PushNo != 1 || len(s.relay.pushes) != 1 {
				s.Errorf("%s: %v after %d pushes, %+v", name, err, len(s.relay.pushes), d)
			}
		})
	}
}

func TestAnswerIsRecordedThoughTheCallerHasGone(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, func(s *world) {
		ctx, cancel := context.WithCancel(s.Context())
		s.relay.answer = func(ctx context.Context, push Push) Results {
			cancel()
			return delivered(ctx, push)
		}
		_, _ = s.ForRequest(ctx, request("r"))
		if d := s.get("r_k00"); d.State != keypackage.StateDelivered {
			s.Errorf("got %+v", d)
		}
	})
}

func TestLostRacesForTheLease(t *testing.T) {
	t.Parallel()
	for races, survives := range map[int]bool{1: true, maxConflicts: true, maxConflicts + 1: false} {
		inWorld(t, 1, func(s *world) {
			lost := 0
			s.fault = func(call string, done bool) error {
				if call == "BeginPush" && !done && lost < races {
					lost++
					return keypackage.ErrConflict
				}
				return nil
			}
			_, err := s.ForRequest(s.Context(), request("r"))
			if survives != (err == nil) || survives != (s.get("r_k00").State == keypackage.StateDelivered) || fault.IsRetryable(err) == survives {
				s.Errorf("%d races lost: %v", races, err)
			}
		})
	}
}

// The same message in several workers: every delivery is pushed once, and nobody is done before all are.
func TestSameMessageTwice(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, func(s *world) {
		s.answers["r"].Claims[0].Authentic = false
		s.relay.answer = func(ctx context.Context, push Push) Results {
			time.Sleep(2 * time.Second)
			return delivered(ctx, push)
		}
		for range 4 {
			go func() {
				if _, err := s.ForRequest(s.Context(), request("r")); err != nil {
					s.Error(err)
				}
				for id := range s.deliveries {
					if s.get(id).State != keypackage.StateDelivered {
						s.Errorf("acknowledged while %s is %s", id, s.get(id).State)
					}
				}
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.relay.pushes) != 1 {
			s.Errorf("%d pushes", len(s.relay.pushes))
		}
	})
}
