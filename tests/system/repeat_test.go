package system

import (
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// I4: what arrives more than once has the result of once.
func TestTriggerArrivesAgain(t *testing.T) {
	for name, trouble := range map[string]trouble{"twice at the same time": twice, "after its answer was lost": deafOnce()} {
		t.Run(name, func(t *testing.T) {
			s := onEveryday(t)
			bob, published := s.owner(4)
			alice := s.requester(bob)
			event := s.question(alice.Key, actors.Question{Owners: []string{bob.Pubkey}, Min: 2})
			s.traffic.disturb(event.ID, trouble)
			s.must(alice.Publish(s.ctx, event))

			s.holds(alice, published[:2]...)
			s.reach(event.ID, 2, delivered)
			s.acknowledged(event.ID)
			s.left(bob, published[2:]...)
			if used := s.claimed(bob); len(used) != 2 {
				t.Errorf("%d KeyPackages were used, want 2", len(used))
			}
			s.holds(alice, published[:2]...)
		})
	}
}

func TestMessageArrivesAgain(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 1)
	s.holds(alice, published[0])
	s.reach(request, 1, delivered)
	for _, message := range []string{`{"request_event_id":"` + request + `"}`, `{"requester_pubkey":"` + alice.Pubkey + `"}`} {
		s.acknowledged(s.message([]byte(message), nil))
	}
	if d := s.deliveries(request)[0]; d.Attempts != 1 {
		t.Errorf("it was pushed %d times", d.Attempts)
	}
	s.holds(alice, published[0])
}

func TestRepeatedRequestJoins(t *testing.T) {
	s := onEveryday(t)
	bob, published, alice, first := s.waitingFor(4, 1)
	second := s.askFor(alice, bob, 2)
	s.answered(second, keypackage.OutcomeGranted)
	s.left(bob, published[2:]...)

	s.listen(alice, bob)
	s.holds(alice, published[:2]...)
	s.told(alice, first, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 1, Granted: 1})
	s.told(alice, second, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 2, Granted: 2})
	s.reach(second, 2, delivered)
}

func TestLostTriggerIsMadeGood(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	alice := s.requester(bob)
	event := s.question(alice.Key, actors.Question{Owners: []string{bob.Pubkey}})
	s.traffic.disturb(event.ID, lost)
	document := requestDocument(event)
	document[keypackage.FieldReceivedAt] = time.Now().Add(-40 * time.Second)
	s.create(s.names.Requests, event.ID, document)
	s.acknowledged(event.ID)
	s.reach(event.ID, 0, nil)

	s.tick()
	s.holds(alice, published[0])
	s.answered(event.ID, keypackage.OutcomeGranted)
	s.reach(event.ID, 1, delivered)
	s.left(bob, published[1])
}

// I5: what certainly nobody has seen is as good as new.
func TestUndeliveredKeyPackageReturns(t *testing.T) {
	s := onEveryday(t)
	bob, published, alice, request := s.waitingFor(3, 2)
	before := s.read(s.names.Deliveries, keypackage.DeliveryID(request, published[0].ID))["package"]
	s.left(bob, published[2])

	s.expireNow(request)
	s.tick()
	for _, d := range s.reach(request, 2, expired) {
		if d.Reason != keypackage.ExpiredReturned {
			t.Errorf("expired as %q, want %q", d.Reason, keypackage.ExpiredReturned)
		}
	}
	s.left(bob, published...)
	if used := s.claimed(bob); len(used) != 0 {
		t.Errorf("the ledger still has %+v", used)
	}
	if after := s.read(s.names.KeyPackages, published[0].ID); !sameDocument(before, after) {
		t.Errorf("what came back is\n%v\nwhat went was\n%v", after, before)
	}

	carol := s.requester(bob)
	s.askFor(carol, bob, 1)
	s.holds(carol, published[0])
	s.listen(alice, bob) // what expired does not reach her any more
	s.acknowledged(s.message([]byte(`{"requester_pubkey":"`+alice.Pubkey+`"}`), nil))
	s.holds(alice)
}

func sameDocument(a any, b fields) bool {
	was, ok := a.(map[string]any)
	if !ok || len(was) != len(b) {
		return false
	}
	for _, name := range []string{keypackage.FieldEvent, keypackage.FieldContent, keypackage.FieldCreatedAt, keypackage.FieldOwner} {
		if was[name] != b[name] {
			return false
		}
	}
	return true
}

// expireNow makes the end of a request's deliveries so long ago that no push can be under way.
func (s *world) expireNow(request string) {
	s.t.Helper()
	ended := time.Now().Add(-keypackage.Fence - time.Second)
	for _, d := range s.deliveries(request) {
		document := s.firestore.Collection(s.names.Deliveries).Doc(keypackage.DeliveryID(d.RequestID, d.PackageID))
		_, err := document.Update(s.ctx, []firestore.Update{{Path: "expires_at", Value: ended}})
		s.must(err)
	}
}

// acknowledged waits until the platform's last attempt at an event was acknowledged, after which there is no other.
func (s *world) acknowledged(event string) {
	s.t.Helper()
	s.eventually("the end of "+event, func() bool {
		answers := s.traffic.answers(event)
		return len(answers) > 0 && answers[len(answers)-1]/100 == 2
	})
}

// acknowledgedAtOnce waits for the first answer to an event and fails unless there will be no other.
func (s *world) acknowledgedAtOnce(event string) {
	s.t.Helper()
	s.acknowledged(event)
	if answers := s.traffic.answers(event); !slices.Equal(answers, []int{204}) {
		s.t.Errorf("the platform was answered %v", answers)
	}
}

// question returns a signed 447 that is yet to be published.
func (s *world) question(requester actors.Key, question actors.Question) *nostr.Event {
	s.t.Helper()
	event := actors.NewRequest(question)
	s.must(requester.Sign(event))
	return event
}

// requestDocument is what the relay writes for a 447 that it receives now.
func requestDocument(event *nostr.Event) fields {
	return fields{
		keypackage.FieldEvent: event.String(), keypackage.FieldKind: event.Kind, "pubkey": event.PubKey,
		"created_at": int64(event.CreatedAt), keypackage.FieldReceivedAt: time.Now(),
		keypackage.FieldOpen: keypackage.NewMark(),
	}
}
