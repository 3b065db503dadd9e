package system

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func TestModeOff(t *testing.T) {
	t.Parallel()
	s := onOwn(t, suite.Options{FunctionEnv: map[string]string{"ROLLOUT_MODE": "off"}})
	bob, published := s.owner(2)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 1)
	s.acknowledgedAtOnce(request)
	s.acknowledgedAtOnce(s.message([]byte(`{"request_event_id":"`+request+`"}`), nil))
	s.tick()

	if claims := s.claims(request); len(claims) != 0 {
		t.Errorf("claims %+v", claims)
	}
	if outcome := s.read(s.names.Requests, request)["outcome"]; outcome != nil {
		t.Errorf("the document got an outcome: %v", outcome)
	}
	s.reach(request, 0, nil)
	s.left(bob, published...)
	s.holds(alice)
}

// The switch in the database makes the mode of functions that run more careful than their setting, and less again.
func TestKillSwitch(t *testing.T) {
	t.Parallel()
	s := onOwn(t, suite.Options{})
	s.create(s.names.Claims, "mode", fields{"mode": "off"})
	bob, published := s.stocked(3)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 1)
	s.acknowledgedAtOnce(request)
	if claims := s.claims(request); len(claims) != 0 {
		t.Errorf("claims %+v", claims)
	}
	s.tick()
	s.holds(alice)

	s.remove(s.names.Claims, "mode")
	s.create(s.names.Claims, "mode", fields{"mode": "observe"})
	event := s.question(alice.Key, actors.Question{Owners: []string{bob.Pubkey}, Min: 2})
	s.answeredAtLast(event)
	s.observed(event.ID, bob, published[:2]...)
	s.left(bob, published...)

	s.remove(s.names.Claims, "mode")
	s.eventually("a request that is not only observed", func() bool {
		event = s.question(alice.Key, actors.Question{Owners: []string{bob.Pubkey}})
		s.answeredAtLast(event)
		return !s.answer(event.ID).Observed()
	})
	s.answered(event.ID, keypackage.OutcomeGranted)
	s.holds(alice, published[0])
}

// answeredAtLast stores a request, and again each time that it was acknowledged without an answer: processes see a switch
// within seconds.
func (s *world) answeredAtLast(event *nostr.Event) {
	s.t.Helper()
	s.create(s.names.Requests, event.ID, requestDocument(event))
	seen := 0
	s.eventually("an answer", func() bool {
		if n := len(s.traffic.answers(event.ID)); n > seen {
			seen = n
			if len(s.claims(event.ID)) > 0 {
				return true
			}
			s.remove(s.names.Requests, event.ID)
			s.create(s.names.Requests, event.ID, requestDocument(event))
		}
		return false
	})
}

// What was only observed stays so when the functions are allowed to deliver.
func TestModeObserveAndThenDeliver(t *testing.T) {
	t.Parallel()
	observing := onOwn(t, suite.Options{FunctionEnv: map[string]string{"ROLLOUT_MODE": "observe"}})
	bob, published := observing.stocked(3)
	alice := observing.requester(bob)
	request := observing.askFor(alice, bob, 2)
	observing.acknowledgedAtOnce(request)
	observing.observed(request, bob, published[:2]...)
	observing.left(bob, published...)
	observing.holds(alice)

	delivering := onOwn(t, suite.Options{Project: observing.Config().Project, FunctionEnv: map[string]string{
		"DELIVERY_TOPIC": "deliveries-of-another-suite", "NOTICE_TOPIC": "notices-of-another-suite",
	}})
	again := delivering.read(delivering.names.Requests, request)
	delivering.remove(delivering.names.Requests, request)
	delivering.create(delivering.names.Requests, request, again)
	delivering.acknowledgedAtOnce(request)
	delivering.tick()
	delivering.observed(request, bob, published[:2]...)
	delivering.left(bob, published...)

	carol := delivering.requester(bob)
	delivering.askFor(carol, bob, 2)
	delivering.holds(carol, published[:2]...)
	delivering.left(bob, published[2])
}

// observed fails unless the request ended as observed, with these KeyPackages of the owner.
func (s *world) observed(request string, owner actors.Key, keyPackages ...*nostr.Event) {
	s.t.Helper()
	s.answered(request, keypackage.OutcomeObserved)
	s.reach(request, 0, nil)
	var document struct {
		Observed []keypackage.Row `firestore:"observed"`
	}
	snap, err := s.firestore.Collection(s.names.Requests).Doc(request).Get(s.ctx)
	s.must(err)
	s.must(snap.DataTo(&document))
	want := keypackage.Row{Owner: owner.Pubkey, Requested: len(keyPackages), Granted: len(keyPackages)}
	for _, event := range keyPackages {
		want.Packages = append(want.Packages, keypackage.Granted{ID: event.ID})
	}
	if len(document.Observed) != 1 || !reflect.DeepEqual(document.Observed[0], want) {
		s.t.Errorf("observed %+v, want %+v", document.Observed, want)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	whole := onOwn(t, suite.Options{FunctionEnv: map[string]string{"PAIR_LIMIT_PER_HOUR": "2", "OWNER_BUDGET_PER_HOUR": "1"}})
	t.Run("of a pair", func(t *testing.T) {
		s := whole.world(t)
		dave, published := s.owner(1)
		alice := s.requester(dave)
		for range 2 {
			s.answered(s.askFor(alice, dave, 1), keypackage.OutcomeGranted)
		}
		third := s.askFor(alice, dave, 1)
		s.answered(third, keypackage.OutcomeLimited)
		s.inAnHour(s.claims(third)[0])
		s.reach(third, 0, nil)
		s.left(dave, published...)
		s.told(alice, third, relayapi.OutcomeRow{
			Owner: dave.Pubkey, Requested: 1, Reason: keypackage.ReasonPairLimit, RetryAt: s.claims(third)[0].RetryAt.Unix(),
		})
	})
	t.Run("of an owner", func(t *testing.T) {
		s := whole.world(t)
		bob, published := s.owner(3)
		alice, carol := s.requester(bob), s.requester(bob)
		s.askFor(alice, bob, 1)
		s.holds(alice, published[0])
		request := s.askFor(carol, bob, 1)
		s.holds(carol, published[2])
		s.answered(request, keypackage.OutcomeGranted)
		claim := s.claims(request)[0]
		if claim.Reason != keypackage.ReasonBudget || !claim.Reserve {
			t.Errorf("claim %+v, want the reserve for want of budget", claim)
		}
		s.inAnHour(claim)
		s.left(bob, published[1:]...)
	})
}

// inAnHour fails unless the requester is asked to come back when the sliding hour is over, give or take the test.
func (s *world) inAnHour(claim keypackage.Claim) {
	s.t.Helper()
	if wait := time.Until(claim.RetryAt); wait <= time.Hour-patience || wait > time.Hour+patience {
		s.t.Errorf("may be retried in %v", wait)
	}
}

// A relay that keeps the signed events elsewhere stores documents without them. It is sent the ids.
func TestDocumentsWithoutTheEvent(t *testing.T) {
	t.Parallel()
	var pushed []relayapi.Delivery
	keepsThem := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request relayapi.DeliveryRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Errorf("a push: %v", err)
		}
		var response relayapi.DeliveryResponse
		for _, d := range request.Deliveries {
			pushed = append(pushed, d)
			response.Results = append(response.Results, relayapi.Result{ID: d.ID, Status: relayapi.Delivered})
		}
		_ = json.NewEncoder(w).Encode(response)
	})
	s := onOwn(t, suite.Options{EndpointFront: func(http.Handler) http.Handler { return keepsThem }})
	bob, published := s.stocked(3)
	for _, event := range published {
		_, err := s.firestore.Collection(s.names.KeyPackages).Doc(event.ID).Update(s.ctx,
			[]firestore.Update{{Path: keypackage.FieldEvent, Value: firestore.Delete}})
		s.must(err)
	}
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 2)
	s.reach(request, 2, delivered)
	s.left(bob, published[2])
	var ids []string
	for _, d := range pushed {
		if d.Event != "" || d.OwnerPubkey != bob.Pubkey {
			t.Errorf("pushed %+v", d)
		}
		ids = append(ids, d.KeyPackageEventID)
	}
	slices.Sort(ids)
	if want := slices.Sorted(slices.Values([]string{published[0].ID, published[1].ID})); !slices.Equal(ids, want) {
		t.Errorf("pushed %v, want %v", ids, want)
	}
}

// A client may subscribe to the answer to one request.
func TestSubscriptionToARequest(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	carol := actors.NewRequester(s.Addresses().Relay, actors.NewKey())
	s.must(carol.Connect(s.ctx))
	t.Cleanup(carol.Disconnect)
	event := s.question(carol.Key, actors.Question{Owners: []string{bob.Pubkey}})
	s.must(carol.Subscribe(s.ctx, "answers", nostr.Filter{
		Kinds: []int{keypackage.KindKeyPackage}, Tags: nostr.TagMap{"e": {event.ID}},
	}))
	s.must(carol.Publish(s.ctx, event))
	s.holds(carol, published[0])
}

// A delivery waits for a subscription that it satisfies.
func TestDeliveryWaitsForAMatchingSubscription(t *testing.T) {
	s := onEveryday(t)
	bob := actors.NewKey()
	first, second := s.keyPackage(bob, 0, mlsgen.Options{}), s.keyPackage(bob, time.Second, mlsgen.Options{})
	s.publish(bob, first, second)
	alice := actors.NewRequester(s.Addresses().Relay, actors.NewKey())
	s.must(alice.Connect(s.ctx))
	justNow := nostr.Now() - 10
	s.must(alice.Subscribe(s.ctx, "recent", nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Since: &justNow}))
	request := s.askFor(alice, bob, 1)
	s.reach(request, 1, waiting(keypackage.ResultNoSubscription))
	s.listen(alice, bob)
	s.holds(alice, first)
	s.told(alice, request, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 1, Granted: 1})
}
