package invariants

import (
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// example is a run in which Alice asked Bob for two packages, got the first, and the second returned to stock.
func example() (Run, State) {
	one := keypackage.Delivery{
		ID: "request_one", Requester: "alice", Owner: "bob", PackageID: "one", Hash: "hash-one", RequestID: "request",
		RequestIDs: []string{"request"}, CreatedAt: start, ExpiresAt: at(300), State: keypackage.StateDelivered,
	}
	two := one
	two.ID, two.PackageID, two.Hash = "request_two", "two", "hash-two"
	two.State, two.Reason = keypackage.StateExpired, keypackage.ExpiredReturned
	run := Run{
		Uploads: map[string]keypackage.Package{
			"one": {Owner: "bob", Hash: "hash-one", Suite: 1, ExpiresAt: at(9999), Event: "event one"},
			"two": {Owner: "bob", Hash: "hash-two", Suite: 1, ExpiresAt: at(9999), Event: "event two"},
			"res": {Owner: "bob", Hash: "hash-res", Suite: 1, ExpiresAt: at(9999), Event: "event res"},
		},
		Requests: map[string][]string{"request": {"bob"}},
		Received: []Received{{DeliveryID: one.ID, Session: "alice", Raw: "event one", At: at(2)}},
		Pushes:   []Push{{DeliveryID: one.ID, At: at(1)}, {DeliveryID: two.ID, At: at(1)}},
		Stored:   map[string]bool{"one": true, "two": true, "res": true},
	}
	return run, State{
		Deliveries: map[string]keypackage.Delivery{one.ID: one, two.ID: two},
		Answers: map[string]keypackage.Answer{"request": {Claims: []keypackage.Claim{{
			RequestID: "request", Requester: "alice", Owner: "bob", Requested: 2, Granted: 2, DeliveryIDs: []string{one.ID, two.ID},
		}}}},
		Ledger:   map[string]keypackage.Ledger{"hash-one": {Use: keypackage.UseOneTime, DeliveryID: one.ID}},
		Stock:    map[string]bool{"two": true, "res": true},
		Requests: map[string]bool{"request": false},
		At:       at(400),
	}
}

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func TestAKeptPromiseIsNoViolation(t *testing.T) {
	t.Parallel()
	run, end := example()
	if broken := Check(run, end); len(broken) > 0 {
		t.Error(broken)
	}
}

func TestWhatIsExcusedIsNoViolation(t *testing.T) {
	t.Parallel()
	for name, excuse := range map[string]func(*Run, *State){
		"the session ended before it was read": func(r *Run, s *State) {
			d := s.Deliveries["request_one"]
			d.DeliveredAt = at(2)
			s.Deliveries[d.ID] = d
			r.Received, r.Left = nil, map[string][]time.Time{"alice": {at(1)}}
		},
		"its owner deleted it": func(r *Run, s *State) {
			r.Deleted = map[string]bool{"res": true, "two": true}
			s.Stock = nil
		},
		"the request never reached the relay": func(r *Run, _ *State) { r.Requests["lost"] = []string{"bob"} },
	} {
		run, end := example()
		excuse(&run, &end)
		if broken := Check(run, end); len(broken) > 0 {
			t.Errorf("%s: %v", name, broken)
		}
	}
}

func TestWhatIsUnderWayIsUnfinished(t *testing.T) {
	t.Parallel()
	run, end := example()
	set(&end, "request_one", keypackage.StateSending)
	end.Requests["other"] = true
	run.Requests["more"], run.Stored["more"] = []string{"bob"}, true
	broken := Check(run, end)
	for _, v := range broken {
		if !strings.HasPrefix(v, UnderWay) {
			t.Error(v)
		}
	}
	if len(broken) != 3 {
		t.Errorf("%d are under way, want 3: %v", len(broken), broken)
	}
}

func TestEveryBrokenPromiseIsSeen(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(*Run, *State)
		want  string
	}{
		"two requesters see one package": {func(r *Run, s *State) {
			other := s.Deliveries["request_one"]
			other.ID, other.Requester, other.Reserve, other.CreatedAt = "other_one", "carol", true, at(9)
			s.Deliveries[other.ID] = other
			r.Received = append(r.Received, Received{DeliveryID: other.ID, Session: "carol", Raw: "event one"})
		}, "I1: 2 requesters"},
		"two deliveries of one package stand": {func(_ *Run, s *State) {
			d := s.Deliveries["request_two"]
			d.PackageID, d.Reason = "one", keypackage.ExpiredExposureUnknown
			s.Deliveries[d.ID] = d
		}, "I1: package hash-one was handed out as one-time by 2"},
		"no outcome": {func(_ *Run, s *State) { s.Answers = nil }, "I3, under way: request request has no outcome"},
		"two outcomes": {func(_ *Run, s *State) {
			a := s.Answers["request"]
			s.Answers["request"] = keypackage.Answer{Claims: append(a.Claims, a.Claims[0])}
		}, "I3: request request has 2"},
		"a dismissal and a claim": {func(_ *Run, s *State) {
			a := s.Answers["request"]
			a.Dismissal = &keypackage.Dismissal{RequestID: "request", Outcome: keypackage.OutcomeRejected}
			s.Answers["request"] = a
		}, "I3: request request has an outcome as a whole"},
		"a reserve that the requester is told of as one-time": {func(_ *Run, s *State) {
			d := s.Deliveries["request_two"]
			d.Reserve = true
			s.Deliveries[d.ID] = d
		}, "I3: the requester of request was not told of the package two as"},
		"a mark that stays": {func(_ *Run, s *State) {
			s.Requests["request"] = true
		}, "I3, under way: request request is still looked for"},
		"an open delivery": {func(_ *Run, s *State) {
			set(s, "request_one", keypackage.StatePending)
		}, "I3, under way: delivery request_ is still"},
		"more than was asked for": {func(_ *Run, s *State) { s.Answers["request"].Claims[0].Requested = 1 }, "I4: request request asked for 1"},
		"another event":           {func(r *Run, _ *State) { r.Received[0].Raw += " " }, "I6: delivery request_"},
		"somebody else's session": {func(r *Run, _ *State) { r.Received[0].Session = "carol" }, "I7: delivery request_"},
		"a late push":             {func(r *Run, _ *State) { r.Pushes[0].At = at(300) }, "I8: delivery request_ was pushed after"},
		"a late arrival":          {func(r *Run, _ *State) { r.Received[0].At = at(300) }, "I8: delivery request_ arrived after"},
		"two pushes at once":      {func(r *Run, _ *State) { r.Pushes[0].Contested = true }, "I8: delivery request_ was pushed by two"},

		"an arrival nobody saw":  {func(r *Run, _ *State) { r.Received = nil }, "I3, under way: delivery request_ counts as delivered"},
		"a package that is gone": {func(_ *Run, s *State) { delete(s.Stock, "res") }, "I3: KeyPackage res is gone"},
		"no package left": {func(_ *Run, s *State) {
			s.Stock = nil
			s.Ledger["hash-res"] = keypackage.Ledger{Use: keypackage.UseReserve, DeliveryID: "request_two"}
		}, "I2: owner bob has no KeyPackage of suite 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run, end := example()
			test.spoil(&run, &end)
			for _, v := range Check(run, end) {
				if strings.HasPrefix(v, test.want) {
					return
				}
			}
			t.Errorf("got %v, want %q", Check(run, end), test.want)
		})
	}
}

func set(s *State, id string, state keypackage.State) {
	d := s.Deliveries[id]
	d.State = state
	s.Deliveries[id] = d
}
