// Package abuse tests what requesters and owners may rely on although identities are free and anybody may publish
// anything: the use cases on a real Firestore emulator, with real KeyPackages and a clock of the test's.
//
// world_test.go is what the tests stand on; drain_test.go attacks an owner, levels_test.go empties and refills one,
// twins_test.go and generations_test.go publish the same and different packages in every form, rubbish_test.go what is no
// good, and cost_test.go counts what a claim reads and writes.
package abuse

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/expiring"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

const relayURL = "ws://relay.example"

// world is a database, its claimer, and Bob.
type world struct {
	*fixture.DB
	t       *testing.T
	store   *store.Store
	claimer *claiming.Claimer
	bob     actors.Key

	mu   sync.Mutex
	time time.Time

	notices []keypackage.Notice // as published, repetitions included
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := fixture.New(t)
	w := &world{DB: db, t: t, store: db.Store(), bob: actors.NewKey(), time: time.Now().UTC().Truncate(time.Microsecond)}
	w.claimer = w.newClaimer(w.store)
	return w
}

func (w *world) newClaimer(documents claiming.Store) *claiming.Claimer {
	return claiming.New(documents, nobodyListens{}, claiming.Settings{
		Limits: claiming.Limits{
			DeliveryTTL: w.DeliveryTTL, PairLimitPerHour: w.PairLimitPerHour, OwnerBudgetPerHour: w.OwnerBudgetPerHour,
		},
		Mode: w.Mode, MaxPerOwner: w.MaxPerOwner, RequestMaxAge: w.RequestMaxAge,
	}, w.now)
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

// nobodyListens is a delivery topic without a subscription.
type nobodyListens struct{}

func (nobodyListens) PublishRequest(context.Context, keypackage.Announcement) error { return nil }

// grant is what one unit got.
type grant struct {
	keypackage.Claim
	packages []string // event ids
}

// ask has a request claimed and returns what it got from Bob.
func (w *world) ask(requester actors.Key, q actors.Question) grant {
	w.t.Helper()
	g, err := w.askOf(w.claimer, requester, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (w *world) askOf(claimer *claiming.Claimer, requester actors.Key, q actors.Question) (grant, error) {
	if q.Owners == nil {
		q.Owners = []string{w.bob.Pubkey}
	}
	request := fixture.Request(w.t, requester, q)
	request.ReceivedAt = w.now()
	err := retry.Do(w.t.Context(), retry.Doubling(10*time.Millisecond, time.Second), func(attempt int) (bool, error) {
		_, err := claimer.Claim(w.t.Context(), request)
		return fault.IsRetryable(err) && attempt < 10, err // the platform repeats what was not acknowledged
	})
	if err != nil {
		return grant{}, err
	}
	answer, err := w.store.Answer(w.t.Context(), request.ID)
	claim, ok := answer.Claim(q.Owners[0])
	if err != nil || !ok {
		return grant{}, fmt.Errorf("no claim for a request, %w", err)
	}
	g := grant{Claim: claim}
	for _, id := range claim.DeliveryIDs {
		g.packages = append(g.packages, keypackage.PackageOf(id))
	}
	return g, nil
}

// make makes a KeyPackage of Bob's and returns its encoding.
func (w *world) make(options mlsgen.Options) []byte {
	w.t.Helper()
	options.Owner = w.bob.Pubkey
	encoded, err := mlsgen.New(options)
	if err != nil {
		w.t.Fatal(err)
	}
	return encoded
}

// publish puts a KeyPackage into stock as its author's event in the form of a generation, dated so long ago, and returns
// the event.
func (w *world) publish(author actors.Key, g actors.Generation, encoded []byte, age time.Duration) *nostr.Event {
	w.t.Helper()
	event, err := g.Publish(author, encoded, relayURL, nostr.Timestamp(w.now().Add(-age).Unix()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(event)
	return event
}

// put stores a KeyPackage event as the relay does.
func (w *world) put(event *nostr.Event) {
	w.t.Helper()
	w.PutPackages(keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
		keypackage.FieldCreatedAt: int64(event.CreatedAt), keypackage.FieldEvent: event.String(),
	})
}

// inStock returns the ids of the documents in stock.
func (w *world) inStock() []string {
	w.t.Helper()
	return slices.Sorted(maps.Keys(w.In(w.Collections.KeyPackages)))
}

// flaw returns why a document of the stock is not handed out, as it is flagged.
func (w *world) flaw(id string) string {
	w.t.Helper()
	flaw, _ := w.In(w.Collections.KeyPackages)[id].Fields[keypackage.FieldFlaw].(string)
	return flaw
}

// tick runs the scheduled function, which publishes notices, and returns what it reports. Deliveries do not end: whoever
// asks here also receives.
func (w *world) tick() expiring.Report {
	w.t.Helper()
	settings := expiring.Settings{Mode: w.Mode, RequestMaxAge: w.RequestMaxAge}
	report, err := expiring.New(allReceived{w.store}, nil, w, w, settings, w.now).Run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// allReceived is a store in which no delivery is open.
type allReceived struct{ *store.Store }

func (allReceived) Due(context.Context, time.Time, bool) iter.Seq2[keypackage.StoredDelivery, error] {
	return func(func(keypackage.StoredDelivery, error) bool) {}
}

func (allReceived) Waiting(context.Context, time.Time) iter.Seq2[keypackage.Delivery, error] {
	return func(func(keypackage.Delivery, error) bool) {}
}

// PublishRequesters implements expiring.Deliveries.
func (w *world) PublishRequesters(context.Context, []string) error { return nil }

// PublishNotices implements expiring.Notices.
func (w *world) PublishNotices(_ context.Context, notices []keypackage.Notice) error {
	w.notices = append(w.notices, notices...)
	return nil
}

// told returns the levels that Bob was told of, in order, without repetitions.
func (w *world) told() []keypackage.Level {
	seen := make(map[string]bool)
	var levels []keypackage.Level
	for _, n := range w.notices {
		if !seen[n.ID()] {
			seen[n.ID()] = true
			levels = append(levels, n.Level)
		}
	}
	return levels
}
