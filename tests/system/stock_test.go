package system

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

func TestNoStock(t *testing.T) {
	s := onEveryday(t)
	erin := actors.NewKey()
	alice := s.requester(erin)
	request := s.askFor(alice, erin, 2)
	s.told(alice, request, relayapi.OutcomeRow{Owner: erin.Pubkey, Requested: 2, Reason: "none"})
	s.answered(request, keypackage.OutcomeNone)
	s.reach(request, 0, nil)
}

// I1 and I2: everybody gets the last KeyPackage, and it stays.
func TestLastKeyPackageIsTheReserve(t *testing.T) {
	s := onEveryday(t)
	dave, published := s.owner(2)
	frank, grace := s.requester(dave), s.requester(dave)

	request := s.askFor(frank, dave, 2)
	s.holds(frank, published...)
	s.told(frank, request, relayapi.OutcomeRow{Owner: dave.Pubkey, Requested: 2, Granted: 2, LastResort: true})
	s.left(dave, published[1])

	request = s.askFor(grace, dave, 2)
	s.holds(grace, published[1])
	s.told(grace, request, relayapi.OutcomeRow{
		Owner: dave.Pubkey, Requested: 2, Granted: 1, LastResort: true, Reason: "partial",
	})
	s.left(dave, published[1])
}

func TestCiphersuites(t *testing.T) {
	s := onEveryday(t)
	bob := actors.NewKey()
	var published []*nostr.Event
	for i, suite := range []mls.Ciphersuite{1, 2, 1, 2} {
		published = append(published, s.keyPackage(bob, time.Duration(i)*time.Second, mlsgen.Options{Ciphersuite: suite}))
	}
	s.publish(bob, published...)
	for _, missing := range []string{"0x0003", "MLS_256_PIGEON_SCYTALE"} { // a good one that Bob has not, and none at all
		alice := s.requester(bob)
		request := s.ask(alice, actors.Question{Owners: []string{bob.Pubkey}, Ciphersuite: missing})
		s.told(alice, request, relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 1, Reason: "no_match"})
		s.answered(request, keypackage.OutcomeNoMatch)
	}
	s.left(bob, published...)

	alice, carol := s.requester(bob), s.requester(bob)
	s.ask(alice, actors.Question{Owners: []string{bob.Pubkey}, Ciphersuite: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"})
	s.holds(alice, published[1])
	s.ask(carol, actors.Question{Owners: []string{bob.Pubkey}, Ciphersuite: "1"})
	s.holds(carol, published[0])
	s.left(bob, published[2:]...)
}

// What cannot be used is neither delivered nor counted, and does not keep anything else from being delivered.
func TestUnusableKeyPackages(t *testing.T) {
	s := onEveryday(t)
	bob := actors.NewKey()
	now := time.Now()
	over := s.keyPackage(bob, 0, mlsgen.Options{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Hour)})
	early := s.keyPackage(bob, time.Second, mlsgen.Options{NotBefore: now.Add(24 * time.Hour)})
	foreign := s.keyPackage(bob, 2*time.Second, mlsgen.Options{Edit: func(kp *mls.KeyPackage) {
		kp.LeafNode.Credential.Data[0]++
	}})
	broken := s.resigned(bob, s.keyPackage(bob, 3*time.Second, mlsgen.Options{}), func(event *nostr.Event) {
		content, err := base64.StdEncoding.DecodeString(event.Content)
		s.must(err)
		content[len(content)-1]++ // of the package's signature
		event.Content = base64.StdEncoding.EncodeToString(content)
		event.Tags = event.Tags[:0]
	})
	opaque := s.resigned(bob, s.keyPackage(bob, 4*time.Second, mlsgen.Options{}), func(event *nostr.Event) {
		event.Content = "not a KeyPackage"
	})
	good := s.keyPackage(bob, 5*time.Second, mlsgen.Options{})
	s.keep(over, early, foreign, broken, opaque) // the gateway would refuse most of them

	carol := s.requester(bob)
	s.told(carol, s.askFor(carol, bob, 2), relayapi.OutcomeRow{Owner: bob.Pubkey, Requested: 2, Reason: keypackage.ReasonUnusable})

	s.keep(good)
	alice := s.requester(bob)
	request := s.askFor(alice, bob, 5)
	s.holds(alice, good)
	s.told(alice, request, relayapi.OutcomeRow{
		Owner: bob.Pubkey, Requested: 5, Granted: 1, LastResort: true, Reason: "partial",
	})
	s.left(bob, early, foreign, broken, opaque, good)
	for name, event := range map[string]*nostr.Event{"foreign": foreign, "broken": broken, "opaque": opaque} {
		if flaw, _ := s.read(s.names.KeyPackages, event.ID)[keypackage.FieldFlaw].(string); flaw == "" {
			t.Errorf("%s: nobody is told why it is not handed out", name)
		}
	}
}

// I1: whoever saw a KeyPackage can publish it again, but not have it handed out again.
func TestUsedKeyPackageIsNotHandedOutAgain(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(3)
	alice := s.requester(bob)
	s.askFor(alice, bob, 1)
	s.holds(alice, published[0])
	again := s.resigned(bob, published[0], func(event *nostr.Event) { event.Tags = append(event.Tags, nostr.Tag{"again"}) })
	s.publish(bob, published[0], again)
	s.left(bob, published[1:]...)
	s.keep(published[0], again) // as a relay does that does not ask the ledger

	carol := s.requester(bob)
	s.askFor(carol, bob, 1)
	s.holds(carol, published[1])
	s.left(bob, published[2])
}

func TestDeletedKeyPackageIsNotClaimed(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(3)
	s.must(s.back(bob).Delete(s.ctx, published[0].ID))
	s.create(s.names.Tombstones, keypackage.TombstoneID(published[1].ID, bob.Pubkey), fields{"event_id": published[1].ID, "owner_pubkey": bob.Pubkey})

	alice := s.requester(bob)
	request := s.askFor(alice, bob, 3)
	s.holds(alice, published[2])
	s.told(alice, request, relayapi.OutcomeRow{
		Owner: bob.Pubkey, Requested: 3, Granted: 1, LastResort: true, Reason: "partial",
	})
	s.left(bob, published[2])
}

func TestDeletedKeyPackageIsNotPushed(t *testing.T) {
	s := onEveryday(t)
	bob, published, alice, request := s.waitingFor(3, 2)
	s.must(s.back(bob).Delete(s.ctx, published[0].ID))

	s.listen(alice, bob)
	s.holds(alice, published[1])
	s.expireNow(request)
	s.tick()
	ended := s.reach(request, 2, func(d keypackage.Delivery) bool { return !d.Open() })
	for _, d := range ended {
		if d.PackageID == published[0].ID && (d.Reason != keypackage.ExpiredTombstoned || d.PushNo != 1) {
			t.Errorf("the deleted KeyPackage ended as %q after %d pushes", d.Reason, d.PushNo)
		}
	}
	s.left(bob, published[2])
	s.holds(alice, published[1])
}

func TestAddressableKeyPackages(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(2)
	older, newer := s.published(actors.Marmot, bob, 0), s.published(actors.Marmot, bob, time.Second)
	s.publish(bob, older, newer) // into one slot
	s.left(bob, newer, published[0], published[1])

	for _, test := range []struct {
		kind int
		want *nostr.Event
	}{{keypackage.KindAddressableKeyPackage, newer}, {0, published[0]}} {
		alice := s.requester(bob)
		request := s.ask(alice, actors.Question{Owners: []string{bob.Pubkey}, Kind: test.kind})
		s.holds(alice, test.want)
		s.told(alice, request, relayapi.OutcomeRow{
			Owner: bob.Pubkey, Requested: 1, Granted: 1, LastResort: test.want == newer,
		})
	}
	s.left(bob, newer, published[1])
}

func TestEveryGenerationOfClients(t *testing.T) {
	s := onEveryday(t)
	bob := actors.NewKey()
	var published []*nostr.Event
	for i, generation := range []actors.Generation{actors.NIPEE, actors.MIP00, actors.Framed, actors.MDK} {
		published = append(published, s.published(generation, bob, time.Duration(i)*time.Second))
	}
	s.publish(bob, published...)
	alice := s.requester(bob)
	s.askFor(alice, bob, 4)
	s.holds(alice, published...)
	s.left(bob, published[3]) // which is addressable
}

func TestOwnerIsToldWhenStockRunsLow(t *testing.T) {
	s := onEveryday(t)
	bob, published := s.owner(4)
	owner := s.back(bob)
	alice := s.requester(bob)
	for i, want := range []keypackage.Level{keypackage.LevelLow, keypackage.LevelLast} {
		s.askFor(alice, bob, 1+i)
		s.holds(alice, published[:1+2*i]...)
		s.tick()
		select {
		case levels := <-s.levels(owner):
			if len(levels) != 1 || levels[0].Level != want || levels[0].Count != 3-2*i || levels[0].Ciphersuite != "0x0001" {
				t.Errorf("told %+v, want %s", levels, want)
			}
		case <-s.ctx.Done():
			t.Fatalf("not told that the stock is %s", want)
		}
	}
}

// level is the state of an owner's stock of one ciphersuite, as the relay tells it.
type level struct {
	Ciphersuite string           `json:"ciphersuite"`
	Count       int              `json:"count"`
	Level       keypackage.Level `json:"level"`
}

// levels subscribes to the state of the owner's stock, as often as it is called, and returns what the relay says, if the key of
// its NIP-11 document has signed it.
func (s *world) levels(owner *actors.Owner) <-chan []level {
	s.t.Helper()
	relay, err := actors.ReadAnnouncement(s.ctx, s.Addresses().Relay)
	s.must(err)
	told := make(chan []level, 10)
	filter := nostr.Filter{Kinds: []int{relay.Notice}, Tags: nostr.TagMap{"p": {owner.Pubkey}}}
	s.must(owner.Subscribe(s.ctx, "stock", filter, func(raw string) {
		var notice struct {
			Rows []level `json:"rows"`
		}
		event, err := keypackage.VerifyEvent(raw)
		if err == nil && event.PubKey == relay.Pubkey && json.Unmarshal([]byte(event.Content), &notice) == nil {
			told <- notice.Rows
		}
	}))
	return told
}

// keyPackage makes a KeyPackage of a minute ago and a bit.
func (s *world) keyPackage(owner actors.Key, later time.Duration, options mlsgen.Options) *nostr.Event {
	s.t.Helper()
	created := nostr.Timestamp(time.Now().Add(later - time.Minute).Unix())
	event, err := actors.NewKeyPackage(owner, s.Addresses().Relay, created, options)
	s.must(err)
	return event
}

// published returns an event of a generation of clients, of a minute ago and a bit.
func (s *world) published(generation actors.Generation, owner actors.Key, later time.Duration) *nostr.Event {
	s.t.Helper()
	encoded, err := mlsgen.New(mlsgen.Options{Owner: owner.Pubkey})
	s.must(err)
	event, err := generation.Publish(owner, encoded, s.Addresses().Relay, nostr.Timestamp(time.Now().Add(later-time.Minute).Unix()))
	s.must(err)
	return event
}

// resigned returns a changed copy of an event, signed.
func (s *world) resigned(key actors.Key, event *nostr.Event, change func(*nostr.Event)) *nostr.Event {
	s.t.Helper()
	changed := *event
	changed.Tags = append(nostr.Tags{}, event.Tags...)
	change(&changed)
	s.must(key.Sign(&changed))
	return &changed
}
