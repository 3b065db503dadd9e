package abuse

import (
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var generations = []actors.Generation{actors.NIPEE, actors.MIP00, actors.Framed, actors.MDK, actors.Marmot}

// TestUsedPackageStaysUsed publishes the bytes of a package that was handed out once in every form that there is.
func TestUsedPackageStaysUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	used, other, reserve := w.make(mlsgen.Options{}), w.make(mlsgen.Options{}), w.make(mlsgen.Options{})
	original := w.publish(w.bob, actors.NIPEE, used, time.Hour)
	fresh := w.publish(w.bob, actors.MIP00, other, 2*time.Minute)
	kept := w.publish(w.bob, actors.MIP00, reserve, time.Minute)
	if g := w.ask(actors.NewKey(), actors.Question{}); !slices.Equal(g.packages, []string{original.ID}) || g.Reserve {
		t.Fatalf("the first requester got %v", g.packages)
	}

	w.put(original) // the same event, re-broadcast
	var again []string
	for i, g := range generations {
		again = append(again, w.publish(w.bob, g, used, time.Duration(30+i)*time.Minute).ID)
	}
	for _, q := range []actors.Question{{}, {Kind: keypackage.KindAddressableKeyPackage}, {Min: 10}} {
		g := w.ask(actors.NewKey(), q)
		for _, id := range g.packages {
			if id == original.ID || slices.Contains(again, id) {
				t.Errorf("%+v got the used package again, as %s", q, id)
			}
		}
	}
	if got := w.inStock(); !slices.Equal(got, []string{kept.ID}) {
		t.Errorf("in stock are %v, want only the reserve %s; %s was fresh", got, kept.ID, fresh.ID)
	}
}

// TestTwinsAreOnePackage publishes one package in every form at the same time.
func TestTwinsAreOnePackage(t *testing.T) {
	t.Parallel()
	for _, g := range []actors.Generation{actors.NIPEE, actors.MIP00, actors.Framed} {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			encoded := w.make(mlsgen.Options{})
			w.publish(w.bob, g, encoded, time.Minute)
			w.publish(w.bob, g, encoded, 2*time.Minute) // another event
			w.publish(w.bob, actors.MIP00, encoded, 3*time.Minute)
			if got := w.ask(actors.NewKey(), actors.Question{Min: 3}); got.Granted != 1 || !got.Reserve {
				t.Errorf("three events of one package gave %d packages, reserve %v", got.Granted, got.Reserve)
			}
			w.publish(w.bob, g, w.make(mlsgen.Options{}), time.Minute)
			if got := w.ask(actors.NewKey(), actors.Question{Min: 3}); got.Granted != 2 || !got.Reserve {
				t.Errorf("two packages in four events gave %d packages, reserve %v", got.Granted, got.Reserve)
			}
		})
	}
}

// TestStrangerHarmsOnlyHerself publishes Bob's bytes under a stranger's key, before and after they are used.
func TestStrangerHarmsOnlyHerself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mallory := actors.NewKey()
	first, second := w.make(mlsgen.Options{}), w.make(mlsgen.Options{})
	own := w.publish(w.bob, actors.MIP00, first, 2*time.Minute)
	w.publish(w.bob, actors.MIP00, second, time.Minute)
	stolen := []string{w.publish(mallory, actors.MIP00, first, time.Minute).ID, w.publish(mallory, actors.Marmot, second, 0).ID}

	hers := w.ask(actors.NewKey(), actors.Question{Owners: []string{mallory.Pubkey}, Min: 2})
	if hers.Status != keypackage.StatusNone || hers.Granted != 0 {
		t.Errorf("the stranger's stock gave %+v", hers.Claim)
	}
	for _, id := range stolen {
		if got := w.flaw(id); got != "identity" {
			t.Errorf("a stolen package is flagged %q, want that its identity is another's", got)
		}
	}
	his := w.ask(actors.NewKey(), actors.Question{})
	if his.Reserve || !slices.Equal(his.packages, []string{own.ID}) {
		t.Errorf("Bob's stock gave %v, reserve %v; want his oldest package, for the first time", his.packages, his.Reserve)
	}
}
