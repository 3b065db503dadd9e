package abuse

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// client is a generation of requesters: what it asks, what it subscribes to, and how it reads what it receives.
type client struct {
	name  string
	kind  int   // of the 447's k tag
	kinds []int // of its subscription
	read  func(*nostr.Event) ([]byte, error)
}

// byEncodingTag reads content as clients do that came before the encoding was fixed.
func byEncodingTag(event *nostr.Event) ([]byte, error) {
	if tag := event.Tags.Find("encoding"); tag != nil && tag[1] == "base64" {
		return base64.StdEncoding.DecodeString(event.Content)
	}
	return hex.DecodeString(event.Content)
}

// framed reads content as current Marmot clients do.
func framed(event *nostr.Event) ([]byte, error) {
	message, err := base64.StdEncoding.DecodeString(event.Content)
	if err != nil || event.Tags.Find("encoding") != nil || !slices.Equal(message[:4], []byte{0, 1, 0, 5}) {
		return nil, mls.ErrEncoding
	}
	return message[4:], nil
}

var clients = []client{
	{"NIP-EE", 0, []int{443}, byEncodingTag},
	{"MIP-00", 0, []int{443}, byEncodingTag},
	{"White Noise", 0, []int{30443, 443}, byEncodingTag},
	{"Marmot", 30443, []int{30443}, framed},
}

// accepts reports whether the client finds a KeyPackage of the owner in the event. No client here reads another's form.
func (c client) accepts(t *testing.T, event *nostr.Event) bool {
	t.Helper()
	if filter := (nostr.Filter{Kinds: c.kinds, Authors: []string{event.PubKey}}); !filter.Matches(event) {
		t.Errorf("%s: kind %d does not match what it subscribes to", c.name, event.Kind)
		return false
	}
	encoded, err := c.read(event)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return false
	}
	parsed, err := mls.Parse(encoded)
	if err == nil {
		err = mls.Verify(parsed, event.PubKey)
	}
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
	return err == nil
}

// granted returns the events that a unit's deliveries carry.
func (w *world) granted(g grant) []*nostr.Event {
	w.t.Helper()
	deliveries := w.In(w.Collections.Deliveries)
	var events []*nostr.Event
	for _, id := range g.DeliveryIDs {
		document, _ := deliveries[id].Fields["package"].(map[string]any)
		event, err := keypackage.VerifyEvent(keypackage.Document(document).Text(keypackage.FieldEvent))
		if err != nil {
			w.t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// TestEveryGenerationIsServed has one owner with the KeyPackages of three generations of clients, the last with a 443 twin,
// and requesters with clients of each, as long as there are one-time packages and when there are none.
func TestEveryGenerationIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 2 {
		age := time.Duration(10-i) * time.Minute
		w.publish(w.bob, actors.NIPEE, w.make(mlsgen.Options{}), age)
		w.publish(w.bob, actors.MIP00, w.make(mlsgen.Options{}), age-5*time.Minute)
	}
	lasting := w.make(mlsgen.Options{LastResort: true})
	addressable := w.publish(w.bob, actors.Marmot, lasting, time.Minute)
	twin := w.publish(w.bob, actors.MIP00, lasting, time.Minute)

	t.Log("| client | k tag | one-time packages left | event | kind | reserve |")
	for round := range 2 {
		for _, c := range clients {
			left := len(w.inStock()) - 2
			g := w.ask(actors.NewKey(), actors.Question{Kind: c.kind})
			events := w.granted(g)
			if len(events) != 1 || !c.accepts(t, events[0]) {
				t.Errorf("%s, round %d: got %+v", c.name, round, g.Claim)
				continue
			}
			t.Logf("| %s | %d | %d | %s | %d | %v |", c.name, c.kind, left, events[0].ID[:8], events[0].Kind, g.Reserve)
			if (c.kind == keypackage.KindAddressableKeyPackage) != (events[0].ID == addressable.ID) {
				t.Errorf("%s: got the event of kind %d", c.name, events[0].Kind)
			}
		}
	}
	for range 2 { // the stock is used up but for the lasting package
		g := w.ask(actors.NewKey(), actors.Question{})
		if events := w.granted(g); g.Granted != 1 || (g.Reserve && events[0].ID != twin.ID) {
			t.Errorf("without one-time packages a client of kind 443 got %+v", g.Claim)
		}
	}
	if got := w.inStock(); len(got) != 2 || !slices.Contains(got, addressable.ID) || !slices.Contains(got, twin.ID) {
		t.Errorf("in stock are %v, want the lasting package in both forms", got)
	}
}

// TestTwinsAreExposedTogether has both events of a package that was never used handed out in one transaction, which is what
// becomes of two requesters of different kinds at the same moment. It leaves that package as well.
func TestTwinsAreExposedTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lasting := w.make(mlsgen.Options{})
	w.publish(w.bob, actors.NIPEE, lasting, time.Minute)
	w.publish(w.bob, actors.MDK, lasting, 0)
	stock, err := w.store.Oldest(t.Context(), w.bob.Pubkey, nil, 2)
	if err != nil || len(stock) != 2 {
		t.Fatalf("%d documents, %v", len(stock), err)
	}
	twin, addressable := stock[0], stock[1]
	ledger := keypackage.NewLedger(&addressable.Package, keypackage.UseReserve, "delivery", w.now())
	addressable.Use = keypackage.UseReserve
	plan := &claiming.Plan{
		Reserves: []claiming.Handout{
			{Candidate: twin, Ledger: ledger, NewUse: true}, {Candidate: addressable, Ledger: ledger},
		},
		Remaining: []*keypackage.Candidate{addressable},
	}
	if err := w.store.Commit(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if entries := w.In(w.Collections.Ledger); len(entries) != 1 {
		t.Errorf("%d entries in the ledger, want one for the bytes", len(entries))
	}
}
