package system

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func TestRequestIsAnswered(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(5)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 3)

	s.holds(alice, published[:3]...)
	s.told(alice, request, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 3, Granted: 3})
	s.answered(request, keypackage.OutcomeGranted)
	s.reach(request, 3, delivered)
	s.left(bob, published[3:]...)
	s.eventually("the outcome on the request's document", func() bool {
		outcome, _ := s.read(s.names.Requests, request)["outcome"].(map[string]any)
		return outcome["status"] == "granted"
	})
}

// I7. The stranger and the eavesdropper are shown that what they could have received has been said by then.
func TestNobodyElseSeesADelivery(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(4)
	mallory := s.requester(bob)
	anonymous := s.eavesdrop()
	alice := s.requester(bob)
	s.askFor(alice, bob, 2)
	s.holds(alice, published[:2]...)

	s.askFor(mallory, bob, 1)
	s.holds(mallory, published[2])
	for _, frame := range anonymous.received() {
		for _, event := range published {
			if strings.Contains(frame, event.ID) || strings.Contains(frame, event.Content) {
				t.Errorf("a session without a name was sent %s", frame)
			}
		}
	}
}

func TestAllSessionsOfTheRequesterSeeADelivery(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	phone := s.requester(bob)
	laptop := actors.NewRequester(s.Addresses().Relay, phone.Key)
	s.listen(laptop, bob)
	s.askFor(phone, bob, 1)
	s.holds(phone, published[0])
	s.holds(laptop, published[0])
}

func TestDeliveryWaitsForTheRequester(t *testing.T) {
	s := onEveryday(t)
	bob, published, alice, request := s.waitingFor(3, 2)
	alice.Disconnect()

	s.listen(alice, bob)
	s.holds(alice, published[:2]...)
	s.told(alice, request, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 2, Granted: 2})
	s.reach(request, 2, delivered)
	s.left(bob, published[2])
}

func TestOwnersAreAnsweredIndependently(t *testing.T) {
	s := onEveryday(t)
	bob, bobs := s.owner(3)
	carol, carols := s.owner(1)
	erin := actors.NewKey()
	alice := s.requester(bob, carol, erin)
	request := s.ask(alice, actors.Question{Owners: []string{bob.Pubkey, carol.Pubkey, erin.Pubkey}, Min: 2})

	s.holds(alice, bobs[0], bobs[1], carols[0])
	s.answered(request, keypackage.OutcomePartial)
	for _, claim := range s.claims(request) {
		want := map[string]keypackage.Status{
			bob.Pubkey: keypackage.StatusFull, carol.Pubkey: keypackage.StatusPartial, erin.Pubkey: keypackage.StatusNone,
		}
		if claim.Status != want[claim.Owner] {
			t.Errorf("owner %s: %s, want %s", claim.Owner, claim.Status, want[claim.Owner])
		}
	}
	s.left(bob, bobs[2])
	s.left(carol, carols...)
}

// I9.
func TestLogsSayNothingOfContents(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 2)
	s.holds(alice, published...)
	s.reach(request, 2, delivered)
	s.tick()
	for _, name := range []string{suite.Claim, suite.Deliver, suite.Expire, suite.Gateway} {
		log, err := os.ReadFile(s.LogFile(name))
		s.must(err)
		for _, event := range published {
			for _, secret := range []string{event.Content, event.Sig} {
				if bytes.Contains(log, []byte(secret)) {
					t.Errorf("the log of %s has what is nobody's business", name)
				}
			}
		}
	}
}

// eavesdropper is a session that has not authenticated and subscribes to everything.
type eavesdropper struct {
	*world
	connection *nostr.Connection
}

func (s *world) eavesdrop() *eavesdropper {
	s.t.Helper()
	connection, err := nostr.NewConnection(s.ctx, s.Addresses().Relay, nil, nil)
	s.must(err)
	s.t.Cleanup(func() { _ = connection.Close() })
	e := &eavesdropper{s, connection}
	e.until("all", `{}`)
	return e
}

// received returns all that was sent until now: what is answered to another subscription comes after everything else.
func (e *eavesdropper) received() (frames []string) {
	e.t.Helper()
	return e.until("end", `{"kinds":[1],"limit":0}`)
}

// until subscribes, and returns what arrives before the EOSE.
func (e *eavesdropper) until(subscription, filter string) (frames []string) {
	e.t.Helper()
	e.must(e.connection.WriteMessage(e.ctx, []byte(`["REQ","`+subscription+`",`+filter+`]`)))
	for {
		var frame bytes.Buffer
		e.must(e.connection.ReadMessage(e.ctx, &frame))
		if strings.HasPrefix(frame.String(), `["EOSE","`+subscription+`"`) {
			return frames
		}
		frames = append(frames, frame.String())
	}
}
