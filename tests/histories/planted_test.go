package histories

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/stage"
)

// planted are mistakes that somebody could make in the store, the seed of a history that finds each, and how it shows.
// Where the seed has become outdated, the search goes on behind it.
var planted = []struct {
	mistake string
	seed    int
	shows   string
	plant   func(stage.Store) stage.Store
}{
	{
		"no ledger check", 0, "was handed out as one-time by",
		func(s stage.Store) stage.Store { return &forgetful{Store: s, forget: everything} },
	},
	{
		"a re-broadcast reserve counts as new", 3, "was handed out as one-time and as a reserve",
		func(s stage.Store) stage.Store { return &forgetful{Store: s, forget: shared} },
	},
	{
		"return after an unresolved push", 27, "was returned: unresolved true",
		func(s stage.Store) stage.Store { return careless{s} },
	},
	{
		"no condition on the package that stays behind", 130, "lost the last valid package",
		func(s stage.Store) stage.Store { return hasty{s} },
	},
	{
		"acknowledgement before the commit", 5, "was acknowledged before its answer was recorded",
		func(s stage.Store) stage.Store { return eager{s} },
	},
}

var minimal = flag.Bool("minimal", false, "look for the shortest history that finds each planted mistake")

// searched is how many histories may play until a mistake must have been found.
const searched = 2000

func TestPlantedMistakesAreFound(t *testing.T) {
	t.Parallel()
	backends := stage.NewBackends(t, players)
	for _, p := range planted {
		t.Run(p.mistake, func(t *testing.T) {
			t.Parallel()
			if *minimal {
				minimise(t, backends, p.plant, p.shows)
				return
			}
			for seed := p.seed; seed < p.seed+searched; seed++ {
				if broken := play(histories.Example(seed), backends, stage.Options{Wrap: p.plant}); strings.Contains(broken, p.shows) {
					t.Logf("found by seed %d:\n%s", seed, broken)
					return
				}
			}
			t.Error("not found")
		})
	}
}

// minimise lets rapid find a history that breaks a promise, and the shortest that does.
func minimise(t *testing.T, backends *stage.Backends, plant func(stage.Store) stage.Store, shows string) {
	c := &captured{TB: t}
	for !c.failed {
		c.said.Reset()
		rapid.Check(c, func(t *rapid.T) {
			if broken := play(histories.Draw(t, "history"), backends, stage.Options{Wrap: plant}); strings.Contains(broken, shows) {
				t.Fatal(shows)
			}
		})
	}
	t.Log(c.said.String())
}

// captured is a test whose failure is what is wanted.
type captured struct {
	rapid.TB
	failed bool
	said   strings.Builder
}

func (c *captured) Errorf(format string, args ...any) {
	c.failed = true
	fmt.Fprintf(&c.said, format+"\n", args...)
}
func (c *captured) Logf(format string, args ...any)   { fmt.Fprintf(&c.said, format+"\n", args...) }
func (c *captured) Fatalf(format string, args ...any) { c.Errorf(format, args...) }
func (c *captured) FailNow()                          { c.failed = true }
func (c *captured) Fail()                             { c.failed = true }
func (c *captured) Failed() bool                      { return c.failed }

// forgetful does not know what the ledger says of some packages. It names their entries anew each time, so that nothing
// written later meets them either.
type forgetful struct {
	stage.Store
	forget func(keypackage.Use) bool
	names  atomic.Int64
}

func everything(keypackage.Use) bool { return true }

func shared(use keypackage.Use) bool { return use == keypackage.UseShared }

func (f *forgetful) Oldest(
	ctx context.Context, owner string, after *keypackage.Candidate, limit int,
) ([]*keypackage.Candidate, error) {
	candidates, err := f.Store.Oldest(ctx, owner, after, limit)
	for _, c := range candidates {
		if f.forget(c.Use) {
			c.Use = keypackage.UseNone
			c.Hash = fmt.Sprintf("%s-%d", c.Hash, f.names.Add(1))
		}
	}
	return candidates, err
}

// careless returns packages although a push of them ended nobody knows how.
type careless struct{ stage.Store }

func (c careless) Expire(ctx context.Context, deliveries []*keypackage.Delivery) error {
	for _, d := range deliveries {
		if d.Reason == keypackage.ExpiredExposureUnknown {
			d.Reason = keypackage.ExpiredReturned
		}
	}
	return c.Store.Expire(ctx, deliveries)
}

// hasty does not look again at the packages that stay behind.
type hasty struct{ stage.Store }

func (h hasty) Commit(ctx context.Context, plan *claiming.Plan) error {
	changed := *plan
	changed.Behind = slices.Clone(plan.Behind)[:0]
	return h.Store.Commit(ctx, &changed)
}

// eager calls a claim done before it is.
type eager struct{ stage.Store }

func (e eager) Commit(ctx context.Context, plan *claiming.Plan) error {
	_ = e.Store.Commit(ctx, plan)
	return nil
}
