package system

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// While the relay fails, every tick asks for what is pending once more. Only the message of the claim may be retried and
// become a dead letter: one for each request.
func TestAFailingRelayMakesOneDeadLetterForEachRequest(t *testing.T) {
	t.Parallel()
	fails := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	s := onOwn(t, suite.Options{EndpointFront: func(http.Handler) http.Handler { return fails }})
	bob, _ := s.owner(2)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 1)
	s.reach(request, 1, func(d keypackage.Delivery) bool { return d.ExposureUnknown && d.State == keypackage.StatePending })

	for message, want := range map[string]int{
		`{"request_event_id":"` + request + `"}`:      http.StatusServiceUnavailable,
		`{"requester_pubkey":"` + alice.Pubkey + `"}`: http.StatusNoContent,
	} {
		trace, header := newTrace(http.Header{"Content-Type": {"application/json"}})
		if got := s.traffic.post(suite.Deliver, header, push(message)); got != want {
			t.Errorf("%s was answered %d, want %d", message, got, want)
		}
		left := want == http.StatusNoContent
		if lines := s.logged(suite.Deliver, trace); len(lines) != 1 || strings.Contains(lines[0], `"outcome":"left_to_tick"`) != left {
			t.Errorf("%s: logged %q", message, lines)
		}
	}
}

// A relay that answers, but not for a delivery, has a session that does not read. That is no failure of the relay: the
// message is acknowledged, and the package stays with its requester.
func TestAStuckSessionFailsNoMessage(t *testing.T) {
	t.Parallel()
	stuck := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"results":[]}`)) })
	s := onOwn(t, suite.Options{EndpointFront: func(http.Handler) http.Handler { return stuck }})
	bob, _ := s.owner(2)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 1)
	s.reach(request, 1, func(d keypackage.Delivery) bool {
		return d.ExposureUnknown && d.State == keypackage.StatePending && d.LastResult == keypackage.ResultUnknown
	})
	trace, header := newTrace(http.Header{"Content-Type": {"application/json"}})
	message := push(`{"request_event_id":"` + request + `"}`)
	if got := s.traffic.post(suite.Deliver, header, message); got != http.StatusNoContent {
		t.Errorf("the message was answered %d", got)
	}
	if lines := s.logged(suite.Deliver, trace); len(lines) != 1 || !strings.Contains(lines[0], `"unclear":1`) || strings.Contains(lines[0], "ERROR") {
		t.Errorf("logged %q", lines)
	}
}
