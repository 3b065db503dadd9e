package system

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// An owner's stock in numbers, as the documented command prints it.
func TestStockCommand(t *testing.T) {
	s := onEveryday(t)
	bob, _ := s.owner(4)
	alice := s.requester(bob)
	s.askFor(alice, bob, 2)
	_, err := alice.AwaitKeyPackages(s.ctx, 2)
	s.must(err)

	show := func(arguments ...string) string {
		command := exec.CommandContext(s.ctx, operate, append([]string{"stock", "-owner", bob.Pubkey}, arguments...)...)
		command.Env = append(os.Environ(),
			"FIRESTORE_EMULATOR_HOST="+s.Addresses().Firestore, "GOOGLE_CLOUD_PROJECT="+s.Config().Project)
		command.Stderr = os.Stderr
		out, err := command.Output()
		s.must(err)
		return string(out)
	}
	var holdings []keypackage.Holding
	s.must(json.Unmarshal([]byte(show("-json")), &holdings))
	if len(holdings) != 1 || holdings[0].OneTime != 1 || holdings[0].Reserve != 1 || holdings[0].HandedOut != 2 {
		t.Errorf("the stock is %+v", holdings)
	}
	table := strings.Fields(show())
	if got := strings.Join(table, " "); got != "ciphersuite one-time reserve handed out shared unusable 0x0001 1 1 2 0" {
		t.Errorf("the stock is %s", got)
	}
}

// A KeyPackage that stands as kind 30443 and as its 443 twin reaches clients of either kind, each in the form that it
// subscribes to.
func TestTwinsReachBothKindsOfClients(t *testing.T) {
	s := onEveryday(t)
	bob := actors.NewKey()
	encoded, err := mlsgen.New(mlsgen.Options{Owner: bob.Pubkey})
	s.must(err)
	var twins []*nostr.Event
	for _, generation := range []actors.Generation{actors.MDK, actors.MIP00} {
		event, err := generation.Publish(bob, encoded, s.Addresses().Relay, nostr.Timestamp(time.Now().Unix()))
		s.must(err)
		twins = append(twins, event)
	}
	s.publish(bob, twins...)
	for i, asked := range []int{keypackage.KindAddressableKeyPackage, 0} { // the k tag
		client := actors.NewRequester(s.Addresses().Relay, actors.NewKey())
		s.must(client.Connect(s.ctx))
		t.Cleanup(client.Disconnect)
		oneKind := nostr.Filter{Kinds: []int{twins[i].Kind}, Authors: []string{bob.Pubkey}, LimitZero: true}
		s.must(client.Subscribe(s.ctx, "keypackages", oneKind))
		s.ask(client, actors.Question{Owners: []string{bob.Pubkey}, Kind: asked})
		s.holds(client, twins[i])
	}
}
