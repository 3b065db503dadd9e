package abuse

import (
	"slices"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// TestOwnerIsToldOfEachLevelOnce takes one package after another, refills a little and then enough, and takes again.
func TestOwnerIsToldOfEachLevelOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []string
	for _, step := range []struct {
		refill, take int
		told         []keypackage.Level
		counts       []int
	}{
		{6, 2, nil, nil}, // 4 left
		{0, 1, []keypackage.Level{keypackage.LevelLow}, []int{3}},
		{1, 1, nil, nil}, // 4, then 3 again: not told again
		{0, 2, []keypackage.Level{keypackage.LevelLast}, []int{1}},
		{0, 2, []keypackage.Level{keypackage.LevelReserve}, []int{1}}, // its second use is not told
		{2, 2, nil, nil}, // too little to count as refilled
		{7, 1, nil, nil}, // refilled: 7 left
		{0, 3, nil, nil},
		{0, 1, []keypackage.Level{keypackage.LevelLow}, []int{3}}, // a new epoch
	} {
		for range step.refill {
			w.publish(w.bob, actors.MIP00, w.make(mlsgen.Options{}), 0)
		}
		w.notices = nil
		for range step.take {
			w.ask(actors.NewKey(), actors.Question{})
			w.tick()
		}
		var counts []int
		for _, n := range w.notices {
			counts, ids = append(counts, n.Count), append(ids, n.ID())
		}
		if !slices.Equal(w.told(), step.told) || !slices.Equal(counts, step.counts) {
			t.Errorf("after a refill of %d and %d claims Bob was told %v %v, want %v %v",
				step.refill, step.take, w.told(), counts, step.told, step.counts)
		}
	}
	if slices.Sort(ids); len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("two notices have the same id: %v", ids)
	}
}
