package abuse

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	drainStock  = 200
	drainKeys   = 300 // three times the budget
	secondKeys  = 150 // enough for what the first hour left
	drainAtOnce = 100
	drainPause  = time.Hour + 2*time.Minute // until the budget is whole again
)

// wave is what came of an attack.
type wave struct{ oneTime, reserves, nothing int }

// attack has as many fresh keys ask Bob for one KeyPackage each, through two instances of the function.
func (w *world) attack(keys int) wave {
	w.t.Helper()
	requests := make(chan int)
	grants := make(chan grant, keys)
	instances := []*claiming.Claimer{w.claimer, w.newClaimer(w.store)}
	var attackers sync.WaitGroup
	for i := range drainAtOnce {
		attackers.Go(func() {
			for range requests {
				g, err := w.askOf(instances[i%len(instances)], actors.NewKey(), actors.Question{})
				if err != nil {
					w.t.Error(err)
				}
				grants <- g
			}
		})
	}
	for i := range keys {
		requests <- i
	}
	close(requests)
	attackers.Wait()
	close(grants)
	var sum wave
	for g := range grants {
		switch {
		case g.Granted == 0:
			sum.nothing++
		case g.Reserve:
			sum.reserves++
		default:
			sum.oneTime++
		}
	}
	return sum
}

// TestDrain attacks an owner with fresh keys in two hours. The budget bounds what each hour costs him, somebody who means
// it gets a package all the time, and he is told once of each level.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.PutPackages(fixture.Packages(t, w.bob, drainStock)...)
	alice := actors.NewKey()

	first := w.attack(drainKeys)
	if want := (wave{oneTime: w.OwnerBudgetPerHour, reserves: drainKeys - w.OwnerBudgetPerHour}); first != want {
		t.Errorf("the first hour gave %+v, want %+v", first, want)
	}
	limited := w.ask(alice, actors.Question{})
	if limited.Status != keypackage.StatusFull || !limited.Reserve || limited.Reason != keypackage.ReasonBudget {
		t.Errorf("a requester who means it got %+v, want the reserve because of the budget", limited.Claim)
	}
	wait := limited.RetryAt.Sub(w.now())
	if wait <= 0 || wait > drainPause {
		t.Errorf("she was told to retry in %v", wait)
	}
	w.tick()
	inHour := len(w.notices)
	if inHour != 0 {
		t.Errorf("Bob still has %d packages, but was told %v", len(w.inStock()), w.told())
	}

	w.pass(drainPause)
	second := w.attack(secondKeys)
	left := drainStock - w.OwnerBudgetPerHour - 1
	if want := (wave{oneTime: left, reserves: secondKeys - left}); second != want {
		t.Errorf("the second hour gave %+v, want %+v", second, want)
	}
	spent := w.ask(alice, actors.Question{})
	if spent.Status != keypackage.StatusFull || !spent.Reserve || spent.Reason != "" {
		t.Errorf("a requester who means it got %+v, want the reserve, which is all that is left", spent.Claim)
	}
	w.tick()
	w.tick()
	published, told := len(w.notices), w.told()
	if len(told) != published || !slices.Contains(told, keypackage.LevelReserve) || !slices.IsSorted(badness(told)) {
		t.Errorf("Bob was told %v in %d messages, want each level once and the reserve's use at the end", told, published)
	}
	if stock := w.inStock(); len(stock) != 1 || limited.packages[0] != stock[0] || spent.packages[0] != stock[0] {
		t.Errorf("%d packages stay, want the one that was handed out as the reserve", len(stock))
	}

	t.Logf("%d packages, budget %d an hour, %d and %d fresh keys, %d at a time:",
		drainStock, w.OwnerBudgetPerHour, drainKeys, secondKeys, drainAtOnce)
	t.Logf("| hour | one-time | reserve | nothing | a requester who means it | owner told |")
	t.Logf("| 1 | %d | %d | %d | %s | %d |", first.oneTime, first.reserves, first.nothing, inWords(limited, wait), inHour)
	t.Logf("| 2 | %d | %d | %d | %s | %v |", second.oneTime, second.reserves, second.nothing, inWords(spent, 0), told)
}

func inWords(g grant, retry time.Duration) string {
	if g.Reason == "" {
		return "the reserve"
	}
	return fmt.Sprintf("the reserve, reason %s, retry in %v", g.Reason, retry.Round(time.Minute))
}

func badness(levels []keypackage.Level) []int {
	order := []keypackage.Level{keypackage.LevelLow, keypackage.LevelLast, keypackage.LevelReserve, keypackage.LevelEmpty}
	ranks := make([]int, len(levels))
	for i, level := range levels {
		ranks[i] = slices.Index(order, level)
	}
	return ranks
}
