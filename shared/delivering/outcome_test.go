package delivering

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// answered stores the answers to a request of which nothing is to be delivered.
func answered(s *world, edit func(*keypackage.Claim)) {
	owners, answer := []string{"bob", "dave"}, keypackage.Answer{}
	for _, owner := range owners {
		claim := keypackage.Claim{
			RequestID: "r", Requester: "alice", Owner: owner, Owners: owners, Status: keypackage.StatusNoMatch, Requested: 2,
			Authentic: true, CreatedAt: time.Now(),
		}
		edit(&claim)
		answer.Claims = append(answer.Claims, claim)
	}
	s.answers["r"] = answer
}

func TestOutcomeWithoutPackages(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		answered(s, func(*keypackage.Claim) {})
		created := time.Now()
		if result, err := s.ForRequest(s.Context(), request("r")); err != nil || result.Pushes != 1 {
			s.Fatalf("got %+v, %v", result, err)
		}
		push := s.relay.pushes[0]
		want := []keypackage.Row{{Owner: "bob", Requested: 2, Reason: "no_match"}, {Owner: "dave", Requested: 2, Reason: "no_match"}}
		if push.RequestID != "r" || push.Requester != "alice" || len(push.Deliveries) != 0 || !reflect.DeepEqual(push.Outcome, want) {
			s.Errorf("told %+v", push)
		}
		if !push.ExpiresAt.Equal(created.Add(OutcomeAge)) {
			s.Errorf("told until %v", push.ExpiresAt)
		}
	})
}

func TestOutcomeThatIsNotTold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*keypackage.Claim)
		told bool
	}{
		"of today":         {func(*keypackage.Claim) {}, true},
		"nobody signed it": {func(c *keypackage.Claim) { c.Authentic = false }, false},
		"too old":          {func(c *keypackage.Claim) { c.CreatedAt = time.Now().Add(-OutcomeAge) }, false},
		"not complete":     {func(c *keypackage.Claim) { c.Owners = append(c.Owners, "erin") }, false},
		"complete at last": {func(r *keypackage.Claim) {
			if r.Owner == "bob" {
				r.CreatedAt = time.Now().Add(-OutcomeAge)
			}
		}, true},
	} {
		inWorld(t, 0, func(s *world) {
			answered(s, tt.edit)
			if _, err := s.ForRequest(s.Context(), request("r")); err != nil || (len(s.relay.pushes) == 1) != tt.told {
				s.Errorf("%s: %v, pushed %v", name, err, s.relay.pushes)
			}
		})
	}
}

func TestRejectionIsTold(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		s.answers["r"] = keypackage.Answer{Dismissal: &keypackage.Dismissal{
			RequestID: "r", Requester: "alice", Outcome: keypackage.OutcomeRejected, Reason: "too_many_owners", Authentic: true, CreatedAt: time.Now(),
		}}
		if _, err := s.ForRequest(s.Context(), request("r")); err != nil || len(s.relay.pushes) != 1 || s.relay.pushes[0].Outcome[0].Reason != "too_many_owners" {
			s.Errorf("%v, pushed %+v", err, s.relay.pushes)
		}
	})
}

// What it means for the message if the outcome could not be told.
func TestOutcomeMeetsTrouble(t *testing.T) {
	t.Parallel()
	for result, tt := range map[keypackage.PushResult]struct{ again, alert bool }{
		"":                          {false, false},
		keypackage.ResultUnclear:    {true, false},
		keypackage.ResultNotSent:    {true, false},
		keypackage.ResultRefused:    {true, false},
		keypackage.ResultMisplaced:  {false, true},
		keypackage.ResultTooLarge:   {false, true},
		keypackage.ResultUnexpected: {false, true},
	} {
		inWorld(t, 0, func(s *world) {
			answered(s, func(*keypackage.Claim) {})
			s.relay.answer = failing(result)
			got, err := s.ForRequest(s.Context(), request("r"))
			if fault.IsRetryable(err) != tt.again || (len(got.Alerts) > 0) != tt.alert {
				s.Errorf("%q: %v, alerts %v", result, err, got.Alerts)
			}
		})
	}
}

func TestOutcomeGoesAlongWithAPush(t *testing.T) {
	t.Parallel()
	inWorld(t, 2, func(s *world) {
		s.relay.answer = failing(keypackage.ResultRefused)
		if _, err := s.ForRequest(s.Context(), request("r")); err == nil {
			s.Error("a refused push is not acknowledged")
		}
		s.relay.pushes, s.relay.answer = nil, delivered
		if _, err := s.ForRequest(s.Context(), request("r")); err != nil || len(s.relay.pushes) != 1 || len(s.relay.pushes[0].Outcome) != 1 {
			s.Errorf("%v, pushed %+v", err, s.relay.pushes)
		}
	})
}

func TestStoreFails(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Announced", "Answer", "Deliveries", "OpenFor"} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			m.add(delivery(1, "r"))
			m.fault = func(name string, _ bool) error {
				if name == call {
					return errAway
				}
				return nil
			}
			d := New(m, newRelay(m), keypackage.ModeDeliver, time.Now)
			_, request := d.ForRequest(t.Context(), request("r"))
			_, requester := d.ForRequester(t.Context(), "alice")
			if request == nil && requester == nil {
				t.Errorf("%s fails, and both messages are acknowledged", call)
			}
		})
	}
}
