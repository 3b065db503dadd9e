package system

import (
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// reads subscribes to all KeyPackages of an owner, as clients do that know nothing of requests, and returns when the relay says
// that these are all.
func (s *world) reads(requester *actors.Requester, owner actors.Key) {
	s.t.Helper()
	s.must(requester.Connect(s.ctx))
	s.t.Cleanup(requester.Disconnect)
	s.must(requester.Subscribe(s.ctx, "keypackages", nostr.Filter{
		Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{owner.Pubkey},
	}))
}

func TestTheGatewayServesRequests(t *testing.T) {
	t.Parallel()
	for name, upstream := range map[string]string{"before an ordinary relay": "", "alone": suite.NoUpstream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := onOwn(t, suite.Options{RequestsServedBy: config.ServedByGateway, Upstream: upstream})
			bob, published := s.owner(5)
			alice := actors.NewRequester(s.Addresses().Relay, actors.NewKey())
			s.reads(alice, bob)
			s.holds(alice, published[0])
			s.reads(alice, bob) // at once, on another connection
			s.holds(alice, published[0], published[0])

			carol := s.requester(bob)
			request := s.askFor(carol, bob, 2)
			s.holds(carol, published[1:3]...)
			s.told(carol, request, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 2, Granted: 2})
			s.acknowledgedAtOnce(request)
			s.reach(request, 2, delivered)
			s.left(bob, published[3:]...)
		})
	}
}

// What the gateway has taken in and cannot finish, the functions do: here a claim was made, and its requester had gone.
func TestTheFunctionsFinishWhatAGatewayBegan(t *testing.T) {
	t.Parallel()
	s := onOwn(t, suite.Options{RequestsServedBy: config.ServedByGateway})
	bob, published, alice, request := s.waitingFor(3, 2)
	s.must(s.Restart(s.ctx, suite.Gateway))
	s.listen(alice, bob)
	s.holds(alice, published[:2]...)
	s.reach(request, 2, delivered)
	s.acknowledged(request)
	s.left(bob, published[2])
}
