package importing_test

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fiatjaf/eventstore/slicestore"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/assembly"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
	"github.com/keypackage-delivery/keypackage-delivery/terraform/operate/importing"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// world is an ordinary relay, and an empty database.
type world struct {
	*fixture.DB
	t     *testing.T
	relay *khatru.Relay
	kept  *slicestore.SliceStore
	url   string
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	w := &world{DB: fixture.New(t), t: t, relay: khatru.NewRelay(), kept: &slicestore.SliceStore{}}
	if err := w.kept.Init(); err != nil {
		t.Fatal(err)
	}
	w.relay.QueryEvents = append(w.relay.QueryEvents, w.kept.QueryEvents)
	server := httptest.NewServer(w.relay)
	t.Cleanup(server.Close)
	w.url = "ws" + strings.TrimPrefix(server.URL, "http")
	return w
}

// keep puts an event on the relay, signed now.
func (w *world) keep(key actors.Key, e *nostr.Event) *nostr.Event {
	w.t.Helper()
	if err := key.Sign(e); err != nil {
		w.t.Fatal(err)
	}
	if err := w.kept.SaveEvent(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// publish puts a 443 on the relay.
func (w *world) publish(owner actors.Key, created nostr.Timestamp, options mlsgen.Options) *nostr.Event {
	w.t.Helper()
	e, err := actors.NewKeyPackage(owner, w.url, created, options)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.keep(owner, e)
}

// version puts a 30443 on the relay.
func (w *world) version(owner actors.Key, created nostr.Timestamp) *nostr.Event {
	w.t.Helper()
	encoded, err := mlsgen.New(mlsgen.Options{Owner: owner.Pubkey})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.keep(owner, &nostr.Event{
		Kind: keypackage.KindAddressableKeyPackage, CreatedAt: created,
		Content: base64.StdEncoding.EncodeToString(encoded), Tags: nostr.Tags{{"d", "phone"}},
	})
}

// run imports, in a dry run only as if.
func (w *world) run(dry bool, o importing.Options) importing.Report {
	w.t.Helper()
	o.From, o.Progress = w.url, func(importing.Report) {}
	publisher := assembly.Publisher(w.Config, w.Store())
	if dry {
		publisher = assembly.Publisher(w.Config, importing.DryRun{Store: w.Store()})
	}
	report, err := importing.Run(w.t.Context(), publisher.KeyPackage, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func (w *world) want(what string, got importing.Report, taken, duplicate, refused int) {
	w.t.Helper()
	if got.Taken != taken || sum(got.Duplicate) != duplicate || sum(got.Refused) != refused || got.Seen != taken+duplicate+refused {
		w.t.Errorf("%s: %+v, want %d taken in, %d duplicate, %d refused", what, got, taken, duplicate, refused)
	}
}

func sum(counts map[string]int) (total int) {
	for n := range maps.Values(counts) {
		total += n
	}
	return total
}

// More than one page, with several events of a second where the pages meet.
func TestWhatIsOnARelayComesIntoStockAsShared(t *testing.T) {
	w := newWorld(t)
	owners := make([]actors.Key, 20)
	for i := range owners {
		owners[i] = actors.NewKey()
	}
	now, published := nostr.Now(), make(map[string]string)
	for i := range 120 {
		e := w.publish(owners[i%len(owners)], now-nostr.Timestamp(i/7), mlsgen.Options{})
		published[e.ID] = e.String()
	}
	addressable := w.version(owners[0], now-3)
	published[addressable.ID] = addressable.String()
	w.publish(owners[1], now-2, mlsgen.Options{NotAfter: time.Now().Add(365 * 24 * time.Hour)})
	w.publish(owners[2], now-2, mlsgen.Options{NotAfter: time.Now().Add(-time.Minute)})
	w.keep(owners[3], &nostr.Event{Kind: nostr.KindTextNote, CreatedAt: now, Content: "hello"})

	w.want("dry run", w.run(true, importing.Options{}), 121, 0, 2)
	if all := w.All(); len(all) != 0 {
		t.Errorf("a dry run has written %v", slices.Collect(maps.Keys(all)))
	}
	report := w.run(false, importing.Options{})
	w.want("first", report, 121, 0, 2)
	if report.Refused["invalid: "+string(mls.ErrLifetimeLength)] != 1 || report.Refused["invalid: "+keypackage.UnusableExpired] != 1 {
		t.Errorf("refused: %v", report.Refused)
	}
	stock := w.In(w.Collections.KeyPackages)
	for id, event := range published {
		if stock[id].Fields[keypackage.FieldEvent] != event {
			t.Errorf("%s is not in stock as it was published", id)
		}
	}
	ledger := w.In(w.Collections.Ledger)
	for _, entry := range ledger {
		if entry.Fields["use"] != string(keypackage.UseReserve) {
			t.Errorf("the ledger has a use %v", entry.Fields["use"])
		}
	}
	if len(stock) != len(published) || len(ledger) != len(published) {
		t.Errorf("%d in stock, %d in the ledger, %d published", len(stock), len(ledger), len(published))
	}
	w.want("again", w.run(false, importing.Options{}), 0, 121, 2)
}

// A relay that has written into stock itself has shown the same KeyPackages to everybody.
func TestWhatIsInStockAlreadyBecomesShared(t *testing.T) {
	w := newWorld(t)
	e := w.publish(actors.NewKey(), nostr.Now(), mlsgen.Options{})
	publisher := assembly.Publisher(w.Config, w.Store())
	if _, err := publisher.KeyPackage(t.Context(), publishing.Event{Event: e, Raw: e.String()}, false); err != nil {
		t.Fatal(err)
	}
	w.want("dry run", w.run(true, importing.Options{}), 0, 1, 0)
	if n := len(w.In(w.Collections.Ledger)); n != 0 {
		t.Errorf("a dry run has written %d ledger entries", n)
	}
	w.want("import", w.run(false, importing.Options{}), 0, 1, 0)
	if n := len(w.In(w.Collections.Ledger)); n != 1 {
		t.Errorf("the ledger has %d entries", n)
	}
}

func TestOnlyTheOwnersThatAreNamed(t *testing.T) {
	w := newWorld(t)
	bob, carol := actors.NewKey(), actors.NewKey()
	w.publish(bob, nostr.Now(), mlsgen.Options{})
	w.publish(carol, nostr.Now(), mlsgen.Options{})
	w.want("bob", w.run(false, importing.Options{Authors: []string{bob.Pubkey}}), 1, 0, 0)
}

func TestARelayThatWantsAuthentication(t *testing.T) {
	w := newWorld(t)
	bob := actors.NewKey()
	w.relay.RejectFilter = append(w.relay.RejectFilter, func(ctx context.Context, _ nostr.Filter) (bool, string) {
		return khatru.GetAuthed(ctx) != bob.Pubkey, "auth-required: owners only"
	})
	w.publish(bob, nostr.Now(), mlsgen.Options{})

	_, err := importing.Run(t.Context(), nil, importing.Options{From: w.url})
	if err == nil || !strings.Contains(err.Error(), "-key-file") {
		t.Errorf("without a key: %v", err)
	}
	_, err = importing.Run(t.Context(), nil, importing.Options{From: w.url, Secret: actors.NewKey().Secret})
	if err == nil || !strings.Contains(err.Error(), "auth-required: owners only") {
		t.Errorf("with a stranger's key: %v", err)
	}
	w.want("with Bob's key", w.run(false, importing.Options{Secret: bob.Secret}), 1, 0, 0)
}
