package delivering

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// world is a Deliverer with everything around it, in a bubble of its own time.
type world struct {
	*memory
	relay *relay
	*Deliverer
}

// request is an announcement that names nothing: everything is searched for.
func request(id string) keypackage.Announcement { return keypackage.Announcement{RequestID: id} }

// inWorld runs a test with n deliveries pending for the request "r".
func inWorld(t *testing.T, n int, test func(s *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		for i := range n {
			m.add(delivery(i, "r"))
		}
		r := newRelay(m)
		test(&world{m, r, New(m, r, keypackage.ModeDeliver, time.Now)})
	})
}

func TestDeliversWhatIsPending(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, func(s *world) {
		time.Sleep(2 * time.Second) // in the bubble's time: the request is so old
		result, err := s.ForRequest(s.Context(), request("r"))
		if err != nil || result.Pushes != 1 || result.Delivered != 3 || len(result.Latencies) != 3 || result.Latencies[0] != 2*time.Second {
			s.Errorf("got %+v, %v", result, err)
		}
		push := s.relay.pushes[0]
		if push.RequestID != "r" || push.Requester != "alice" || len(push.Deliveries) != 3 || len(push.Outcome) != 1 {
			s.Errorf("pushed %+v", push)
		}
		for id, d := range s.deliveries {
			if d.State != keypackage.StateDelivered || d.Attempts != 1 || d.LastResult != "delivered" {
				s.Errorf("%s: %+v", id, d)
			}
		}
		if _, err := s.ForRequest(s.Context(), request("r")); err != nil || len(s.relay.pushes[1].Deliveries) != 0 {
			s.Errorf("the message again: %v, pushed %+v", err, s.relay.pushes[1:])
		}
	})
}

// What every result of a push means for the delivery and for the message: DESIGN, section 7, row by row.
func TestResults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		result               keypackage.PushResult
		whole                bool // the push failed as a whole
		state                keypackage.State
		unknown, parked      bool
		again, alert, pushed bool // the message, somebody's attention, by the next message
	}{
		{keypackage.ResultDelivered, false, keypackage.StateDelivered, false, false, false, false, false},
		{keypackage.ResultNoSession, false, keypackage.StatePending, false, false, false, false, true},
		{keypackage.ResultNoSubscription, false, keypackage.StatePending, false, false, false, false, true},
		{keypackage.ResultUnknownEvent, false, keypackage.StatePending, false, true, false, true, false},
		{keypackage.ResultRejected, false, keypackage.StatePending, false, true, false, true, false},
		{keypackage.ResultUnknown, false, keypackage.StatePending, true, false, false, false, true},
		{"", false, keypackage.StatePending, true, false, false, false, true}, // no answer for this one
		{keypackage.ResultNotSent, true, keypackage.StatePending, false, false, true, false, true},
		{keypackage.ResultRefused, true, keypackage.StatePending, false, false, true, false, true},
		{keypackage.ResultMisplaced, true, keypackage.StatePending, false, false, false, true, true},
		{keypackage.ResultTooLarge, true, keypackage.StatePending, false, false, false, true, true},
		{keypackage.ResultUnclear, true, keypackage.StatePending, true, false, true, false, true},
		{keypackage.ResultUnexpected, true, keypackage.StatePending, true, false, false, true, true},
	} {
		inWorld(t, 1, func(s *world) {
			if s.relay.answer = all(tt.result); tt.whole {
				s.relay.answer = failing(tt.result)
			}
			result, err := s.ForRequest(s.Context(), request("r"))
			if fault.IsRetryable(err) != tt.again || (len(result.Alerts) > 0) != tt.alert {
				s.Errorf("%q: %v, alerts %v", tt.result, err, result.Alerts)
			}
			if err != nil && (!errors.Is(err, errNoAnswer) || fault.Reason(err) != string(tt.result)) {
				s.Errorf("%q: what went wrong is lost in %v", tt.result, err)
			}
			d := s.get("r_k00")
			if d.State != tt.state || d.ExposureUnknown != tt.unknown || d.Parked != tt.parked {
				s.Errorf("%q: %+v", tt.result, d)
			}
			before := len(s.relay.pushes)
			s.relay.answer = delivered
			if _, err := s.ForRequester(s.Context(), "alice"); err != nil {
				s.Errorf("%q: the next message: %v", tt.result, err)
			}
			pushed := slices.ContainsFunc(s.relay.pushes[before:], func(p Push) bool { return len(p.Deliveries) > 0 })
			if pushed != tt.pushed {
				s.Errorf("%q: pushed by the next message: %v", tt.result, pushed)
			}
		})
	}
}

// The log tells what became of deliveries by what it means, and does not mix what waits with what was refused.
func TestResultIsCounted(t *testing.T) {
	t.Parallel()
	inWorld(t, 7, func(s *world) {
		words := []keypackage.PushResult{
			keypackage.ResultDelivered, keypackage.ResultNoSession, keypackage.ResultNoSubscription, keypackage.ResultRejected,
			keypackage.ResultUnknownEvent, keypackage.ResultUnknown, "",
		}
		s.relay.answer = func(_ context.Context, push Push) Results {
			each := make(map[string]keypackage.PushResult)
			for i, d := range push.Deliveries {
				each[d.ID] = words[i]
			}
			return Results{Each: each}
		}
		got, err := s.ForRequest(s.Context(), request("r"))
		got.Alerts, got.Latencies = nil, nil
		if want := (Result{Pushes: 1, Delivered: 1, Waiting: 2, Parked: 2, Unclear: 2}); err != nil || !reflect.DeepEqual(got, want) {
			s.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
	for whole, want := range map[keypackage.PushResult]Result{
		keypackage.ResultRefused: {Pushes: 1, Failed: 2}, keypackage.ResultUnclear: {Pushes: 1, Unclear: 2},
		keypackage.ResultNotSent: {Pushes: sendAttempts, Failed: 2},
	} {
		inWorld(t, 2, func(s *world) {
			s.relay.answer = failing(whole)
			if got, _ := s.ForRequest(s.Context(), request("r")); !reflect.DeepEqual(got, want) {
				s.Errorf("%s: got %+v, want %+v", whole, got, want)
			}
		})
	}
}

func TestModesThatDoNotDeliver(t *testing.T) {
	t.Parallel()
	for _, mode := range []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve} {
		inWorld(t, 1, func(s *world) {
			d := New(s.memory, s.relay, mode, time.Now)
			_, err1 := d.ForRequest(s.Context(), request("r"))
			_, err2 := d.ForRequester(s.Context(), "alice")
			if err1 != nil || err2 != nil || len(s.relay.pushes) > 0 || s.get("r_k00").State != keypackage.StatePending {
				s.Errorf("mode %s: %v, %v, pushed %v", mode, err1, err2, s.relay.pushes)
			}
		})
	}
}

// unknownMode is a switch that could not be read.
type unknownMode struct{}

func (unknownMode) Now(context.Context) (keypackage.Mode, error) {
	return keypackage.ModeOff, errors.New("the database is away")
}

// As long as the mode is not known nothing is pushed, and a request's message comes again.
func TestModeNotKnown(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, func(s *world) {
		d := New(s.memory, s.relay, unknownMode{}, time.Now)
		_, err := d.ForRequest(s.Context(), request("r"))
		_, left := d.ForRequester(s.Context(), "alice")
		if !fault.IsRetryable(err) || left == nil || fault.IsRetryable(left) || len(s.relay.pushes) > 0 {
			s.Errorf("%v, %v, pushed %v", err, left, s.relay.pushes)
		}
	})
}

// A nudge names the requester: everything that is open goes out, under the last request that asked for each.
func TestNudge(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		s.add(delivery(1, "old"))
		time.Sleep(time.Second)
		s.add(delivery(2, "new"))
		s.add(delivery(3, "old", func(d *keypackage.Delivery) { d.RequestIDs = []string{"old", "new"} }))
		s.add(delivery(4, "other", func(d *keypackage.Delivery) { d.Requester = "carol" }))
		result, err := s.ForRequester(s.Context(), "alice")
		if err != nil || result.Delivered != 3 || len(s.relay.pushes) != 2 {
			s.Fatalf("got %+v, %v", result, err)
		}
		for i, want := range []string{"old: old_k01", "new: new_k02 old_k03"} {
			push := s.relay.pushes[i]
			ids := []string{}
			for _, d := range push.Deliveries {
				ids = append(ids, d.ID)
			}
			slices.Sort(ids)
			if got := push.RequestID + ": " + strings.Join(ids, " "); got != want {
				s.Errorf("push %d: %s, want %s", i, got, want)
			}
		}
		if _, err := s.ForRequester(s.Context(), "nobody"); err != nil || len(s.relay.pushes) != 2 {
			s.Errorf("a nudge for nobody: %v", err)
		}
	})
}

func TestNothingIsPushedThatMustNotBe(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*keypackage.Delivery){
		"parked":    func(d *keypackage.Delivery) { d.Parked = true },
		"over":      func(d *keypackage.Delivery) { d.ExpiresAt = time.Now() },
		"delivered": func(d *keypackage.Delivery) { d.State = keypackage.StateDelivered },
		"expired":   func(d *keypackage.Delivery) { d.State = keypackage.StateExpired },
		"deleted":   func(*keypackage.Delivery) {},
	} {
		inWorld(t, 1, func(s *world) {
			s.change("r_k00", edit)
			s.tombstones["k00"] = name == "deleted"
			if _, err := s.ForRequest(s.Context(), request("r")); err != nil {
				s.Errorf("%s: %v", name, err)
			}
			if len(s.relay.pushes) != 1 || len(s.relay.pushes[0].Deliveries) != 0 {
				s.Errorf("%s: pushed %+v; only the outcome was to be told", name, s.relay.pushes)
			}
		})
	}
}

// What is announced need not be searched for; what it leaves out is delivered all the same, and what it names without right
// is not.
func TestAnnouncements(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		granted  map[string][]string
		searches []string
	}{
		"everything":        {map[string][]string{"bob": {"k00", "k01"}}, nil},
		"nothing":           {nil, []string{"Answer", "Deliveries"}},
		"one of two":        {map[string][]string{"bob": {"k01"}}, []string{"Deliveries"}},
		"one twice":         {map[string][]string{"bob": {"k00", "k00", "k01"}}, nil},
		"another owner":     {map[string][]string{"carol": {"k00", "k01"}}, []string{"Answer"}},
		"strangers as well": {map[string][]string{"bob": {"k00", "k01"}, "carol": {"k02"}}, nil},
	} {
		inWorld(t, 2, func(s *world) {
			stranger := delivery(2, "r")
			s.write(&stranger) // no claim grants it
			var searches []string
			s.fault = func(call string, done bool) error {
				if done && slices.Contains([]string{"Answer", "Deliveries"}, call) && len(s.relay.pushes) == 0 {
					searches = append(searches, call)
				}
				return nil
			}
			a := keypackage.Announcement{RequestID: "r", Granted: tt.granted}
			result, err := s.ForRequest(s.Context(), a)
			if err != nil || result.Delivered != 2 || s.get("r_k02").State != keypackage.StatePending {
				s.Errorf("%s: %+v, %v", name, result, err)
			}
			if !slices.Equal(searches, tt.searches) {
				s.Errorf("%s: searched by %v, want %v", name, searches, tt.searches)
			}
		})
	}
}

func TestUnknownRequest(t *testing.T) {
	t.Parallel()
	inWorld(t, 0, func(s *world) {
		if result, err := s.ForRequest(s.Context(), request("nobody's")); err != nil || result.Pushes != 0 {
			s.Errorf("got %+v, %v", result, err)
		}
	})
}

func TestLargePushesAreDivided(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		deliveries, bytes int
		batches           []int
	}{
		"many":            {page + 1, 10, []int{page, 1}},
		"large":           {3, batchBytes / 2, []int{2, 1}},
		"one that is too": {2, batchBytes + 1, []int{1, 1}},
	} {
		inWorld(t, 0, func(s *world) {
			for i := range tt.deliveries {
				s.add(delivery(i, "r", func(d *keypackage.Delivery) {
					d.Package = keypackage.Document{"event": strings.Repeat("x", tt.bytes)}
				}))
			}
			result, err := s.ForRequest(s.Context(), request("r"))
			var sizes []int
			for _, push := range s.relay.pushes {
				sizes = append(sizes, len(push.Deliveries))
			}
			if err != nil || result.Delivered != tt.deliveries || fmt.Sprint(sizes) != fmt.Sprint(tt.batches) {
				s.Errorf("%s: pushes of %v, %v", name, sizes, err)
			}
		})
	}
}
