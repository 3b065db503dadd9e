package simulation

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// mutants are stores with a mistake that somebody could make, the seed of a history that finds each, and how it shows.
// Where the seed has become outdated, the search goes on behind it.
var mutants = []struct {
	mistake string
	seed    int
	shows   string
	mutate  func(Store) Store
}{
	{
		"no ledger check", 5, "was handed out as one-time by",
		func(s Store) Store { return &forgetful{Store: s, forget: everything} },
	},
	{
		"a re-broadcast reserve counts as new", 14, "was handed out as one-time and as a reserve",
		func(s Store) Store { return &forgetful{Store: s, forget: shared} },
	},
	{
		"return after an unresolved push", 25, "was returned: unresolved true",
		func(s Store) Store { return careless{s} },
	},
	{
		"acknowledgement before the commit", 3, "was acknowledged before its answer was recorded",
		func(s Store) Store { return eager{s} },
	},
}

var shortest = flag.Bool("shortest", false, "show the shortest history that finds each mutant")

// TestWhatRemainsIsACondition plays what random histories seldom hold: the owner deletes the package that would remain, right before
// the commit that hands out the other one.
func TestWhatRemainsIsACondition(t *testing.T) {
	t.Parallel()
	backends := NewBackends(t, 1)
	h := history{Stock: []Package{{Number: 0}, {Number: 1}}, Steps: []step{{
		Do: claim, Ask: Ask{Owners: []int{0}}, Amid: &step{Do: remove, Pick: 1}, AmidAt: Point{Name: "Commit claims"},
	}}}
	if broken := play(h, backends, Options{Wrap: func(s Store) Store { return hasty{s} }}); !strings.Contains(broken, "lost the last valid package") {
		t.Errorf("without the condition: %q", broken)
	}
	h.Steps[0].AmidAt.Name = "BatchGetDocuments in transaction" // a call of the transaction keeps the others waiting
	if broken := play(h, backends, Options{}); broken != "" {
		t.Errorf("with the condition: %s", broken)
	}
}

// TestARequestThatVanishesIsSeen plays what no function does: the document goes before there is an outcome.
func TestARequestThatVanishesIsSeen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := New(NewBackends(t, 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Ask(ctx, Ask{Owners: []int{0}})
	for id := range s.run.Requests {
		_, err := s.client.Collection(collections.Requests).Doc(id).Delete(s.by(ctx, true))
		s.failed(err)
	}
	broken, err := s.Check(ctx)
	if said := strings.Join(broken, "\n"); err != nil || !strings.Contains(said, "has no outcome") {
		t.Errorf("found: %q, %v", said, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// searched is how many histories may play until a mistake must have been found.
const searched = 200

func TestMutantsAreFound(t *testing.T) {
	t.Parallel()
	backends := NewBackends(t, players)
	for _, p := range mutants {
		t.Run(p.mistake, func(t *testing.T) {
			t.Parallel()
			finds := func(h history) bool {
				return strings.Contains(play(h, backends, Options{Wrap: p.mutate}), p.shows)
			}
			for seed := p.seed; seed < p.seed+searched; seed++ {
				h := histories.Example(seed)
				if !finds(h) {
					continue
				}
				t.Logf("found by seed %d", seed)
				if *shortest {
					t.Logf("%#v", shorten(h, finds))
				}
				return
			}
			t.Error("not found")
		})
	}
}

// forgetful does not know what the ledger says of some packages. It names their entries anew each time, so that nothing
// written later meets them either.
type forgetful struct {
	Store
	forget func(keypackage.Use) bool
	names  atomic.Int64
}

func everything(keypackage.Use) bool { return true }

func shared(use keypackage.Use) bool { return use == keypackage.UseReserve }

func (f *forgetful) ReadStock(ctx context.Context, owner string, page claiming.Page) (claiming.Portion, error) {
	portion, err := f.Store.ReadStock(ctx, owner, page)
	if err == nil {
		err = f.Store.LookUp(ctx, portion.Candidates)
	}
	for _, c := range portion.Candidates {
		if c.LookedUp && f.forget(c.Use) {
			c.Use = keypackage.UseNone
			c.Hash = fmt.Sprintf("%s-%d", c.Hash, f.names.Add(1))
		}
	}
	return portion, err
}

// careless returns packages although a push of them ended nobody knows how.
type careless struct{ Store }

func (c careless) Expire(ctx context.Context, deliveries []*keypackage.Delivery) error {
	for _, d := range deliveries {
		if d.Reason == keypackage.ExpiredExposureUnknown {
			d.Reason = keypackage.ExpiredReturned
		}
	}
	return c.Store.Expire(ctx, deliveries)
}

// hasty does not look again at the packages that remain.
type hasty struct{ Store }

func (h hasty) Commit(ctx context.Context, plan *claiming.Plan) error {
	changed := *plan
	changed.Remaining = slices.Clone(plan.Remaining)[:0]
	return h.Store.Commit(ctx, &changed)
}

// eager calls a claim done before it is.
type eager struct{ Store }

func (e eager) Commit(ctx context.Context, plan *claiming.Plan) error {
	_ = e.Store.Commit(ctx, plan)
	return nil
}
