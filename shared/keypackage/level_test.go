package keypackage_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// A stock that sinks package by package is told of once per level; one that is refilled may be told again.
func TestLevels(t *testing.T) {
	t.Parallel()
	type step struct {
		count   int
		reserve bool
		want    keypackage.Level // "" if nothing is told
	}
	var s keypackage.Supply
	for i, tt := range []step{
		{9, false, ""}, {4, false, ""}, {3, false, keypackage.LevelLow}, {3, false, ""}, {4, false, ""}, {2, false, ""},
		{1, false, keypackage.LevelLast}, {2, false, ""}, {1, false, ""},
		{1, true, keypackage.LevelReserve}, {1, true, ""}, {0, false, keypackage.LevelEmpty},
		{4, false, ""}, {5, false, keypackage.LevelOK}, {5, false, ""}, {3, false, keypackage.LevelLow},
		{0, false, keypackage.LevelEmpty}, {6, false, keypackage.LevelOK}, {1, true, keypackage.LevelReserve},
	} {
		next, changed := s.Sink(tt.count, tt.reserve, now)
		if changed != (tt.want != "") || (changed && (next.Level != tt.want || next.Count != tt.count)) {
			t.Errorf("step %d, %d left: changed %v to %+v, want %q", i, tt.count, changed, next, tt.want)
		}
		if !changed && next != s {
			t.Errorf("step %d: unchanged, but %+v is not %+v", i, next, s)
		}
		s = next
	}
	if s.Epoch != 2 {
		t.Errorf("two refills make epoch %d", s.Epoch)
	}
}

// However the stock moves, no level is told twice in one epoch, so a consumer can drop repeats by the id.
func TestNoticeIDsAreUnique(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s keypackage.Supply
		told := make(map[string]bool)
		for _, count := range rapid.SliceOf(rapid.IntRange(0, 7)).Draw(t, "counts") {
			next, changed := s.Sink(count, count == 1 && rapid.Bool().Draw(t, "reserve"), now)
			if id := (keypackage.Notice{Owner: "o", Suite: "s", Supply: next}).ID(); changed && told[id] {
				t.Fatalf("%s is told twice", id)
			} else if changed {
				told[id] = true
			}
			if changed && next.Level == keypackage.LevelOK != next.Notified {
				t.Fatalf("%+v: a refill is no news, everything else is", next)
			}
			s = next
		}
	})
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	low, _ := keypackage.Supply{}.Sink(3, false, now)
	empty, _ := low.Sink(0, false, now)
	owner := keypackage.Owner{Pubkey: bob.pubkey, Supplies: map[string]keypackage.Supply{"0x0001": low, "0x0002": low}}
	notices := owner.DueNotices()
	if len(notices) != 2 {
		t.Fatalf("%d notices", len(notices))
	}
	owner.Supplies["0x0002"] = empty // a claim in between
	owner.MarkNotified(notices)
	left := owner.DueNotices()
	if len(left) != 1 || left[0].Suite != "0x0002" || left[0].Level != keypackage.LevelEmpty {
		t.Errorf("still to be told: %+v", left)
	}
}
