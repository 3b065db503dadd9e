package system

import (
	"reflect"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// owner stocks a new owner up and goes offline. The KeyPackages are returned oldest first.
func (s *world) owner(n int) (actors.Key, []*nostr.Event) {
	s.t.Helper()
	key := actors.NewKey()
	owner := s.back(key)
	published, err := owner.Stockpile(s.ctx, n)
	s.must(err)
	return key, published
}

// stocked makes an owner whose stock another relay has stored. The KeyPackages are returned oldest first.
func (s *world) stocked(n int) (actors.Key, []*nostr.Event) {
	s.t.Helper()
	key := actors.NewKey()
	events := make([]*nostr.Event, n)
	for i := range events {
		events[i] = s.keyPackage(key, time.Duration(i)*time.Second, mlsgen.Options{})
	}
	s.keep(events...)
	return key, events
}

// back brings an owner online, until the test ends.
func (s *world) back(key actors.Key) *actors.Owner {
	s.t.Helper()
	owner, err := actors.ConnectOwner(s.ctx, s.Addresses().Relay, key)
	s.must(err)
	s.t.Cleanup(owner.Disconnect)
	return owner
}

// publish has an owner publish events of a test's own making.
func (s *world) publish(key actors.Key, events ...*nostr.Event) {
	s.t.Helper()
	owner := s.back(key)
	for _, event := range events {
		s.must(owner.Publish(s.ctx, event))
	}
}

// requester brings a new requester online who listens to owners, until the test ends.
func (s *world) requester(owners ...actors.Key) *actors.Requester {
	s.t.Helper()
	requester := actors.NewRequester(s.Addresses().Relay, actors.NewKey())
	s.listen(requester, owners...)
	return requester
}

// listen connects a requester, anew if need be, and subscribes to the owners' KeyPackages.
func (s *world) listen(requester *actors.Requester, owners ...actors.Key) {
	s.t.Helper()
	s.must(requester.Connect(s.ctx))
	s.t.Cleanup(requester.Disconnect)
	s.must(requester.Listen(s.ctx, pubkeys(owners)...))
}

func pubkeys(keys []actors.Key) []string {
	pubkeys := make([]string, len(keys))
	for i, key := range keys {
		pubkeys[i] = key.Pubkey
	}
	return pubkeys
}

// ask sends a 447 and returns its id.
func (s *world) ask(requester *actors.Requester, question actors.Question) string {
	s.t.Helper()
	request, err := requester.Ask(s.ctx, question)
	s.must(err)
	return request
}

// askFor asks one owner for n KeyPackages.
func (s *world) askFor(requester *actors.Requester, owner actors.Key, n int) string {
	s.t.Helper()
	return s.ask(requester, actors.Question{Owners: []string{owner.Pubkey}, Min: n})
}

// holds waits until the requester has received that many KeyPackages and fails unless they are these, each once, byte for
// byte as their owner published them. The requester itself has verified their ids and signatures.
func (s *world) holds(requester *actors.Requester, want ...*nostr.Event) {
	s.t.Helper()
	received, err := requester.AwaitKeyPackages(s.ctx, len(want))
	s.must(err)
	var got, published []string
	for _, k := range received {
		got = append(got, k.Raw)
	}
	for _, event := range want {
		published = append(published, event.String())
	}
	slices.Sort(got)
	slices.Sort(published)
	if !slices.Equal(got, published) {
		s.t.Errorf("the requester holds\n%q\nwant\n%q", got, published)
	}
}

// told waits for the notice of how a request ended and compares it. The KeyPackages that it names are compared with the
// deliveries.
func (s *world) told(requester *actors.Requester, request string, want ...relayapi.OutcomeRow) {
	s.t.Helper()
	outcome, err := requester.AwaitOutcome(s.ctx, request)
	s.must(err)
	granted := s.granted(request)
	for i := range want {
		want[i].KeyPackages = append([]relayapi.Granted{}, granted[want[i].Owner]...)
	}
	if !reflect.DeepEqual(outcome.Rows, want) {
		s.t.Errorf("the requester was told %+v, want %+v", outcome.Rows, want)
	}
}

// granted names, by owner, the KeyPackages of the deliveries that a request was granted.
func (s *world) granted(request string) map[string][]relayapi.Granted {
	s.t.Helper()
	named := make(map[string][]relayapi.Granted)
	for _, claim := range s.answer(request).Claims {
		for _, id := range claim.DeliveryIDs {
			delivery := s.read(s.names.Deliveries, id)
			keyPackage, _ := delivery["keypackage_event_id"].(string)
			reserve, _ := delivery["last_resort"].(bool)
			named[claim.Owner] = append(named[claim.Owner], relayapi.Granted{ID: keyPackage, LastResort: reserve})
		}
	}
	return named
}

func ids(events []*nostr.Event) []string {
	ids := make([]string, len(events))
	for i, event := range events {
		ids[i] = event.ID
	}
	return ids
}

// waitingFor sets up an owner with a stock, and a requester who is there, has asked for n packages, and does not listen.
func (s *world) waitingFor(stock, n int) (owner actors.Key, published []*nostr.Event, requester *actors.Requester, request string) {
	s.t.Helper()
	owner, published = s.owner(stock)
	requester = actors.NewRequester(s.Addresses().Relay, actors.NewKey())
	s.must(requester.Connect(s.ctx))
	request = s.askFor(requester, owner, n)
	s.reach(request, n, waiting(keypackage.ResultNoSubscription))
	return owner, published, requester, request
}
