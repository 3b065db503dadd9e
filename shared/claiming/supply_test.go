package claiming

import (
	"fmt"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// An owner's stock sinks claim by claim. Each level is recorded in the claim that reaches it, once.
func TestLevelsOfASinkingStock(t *testing.T) {
	t.Parallel()
	m := newMemory(t, fresh(5)...)
	claim := func(id string) keypackage.Supply {
		t.Helper()
		units := []Unit{ask(id, 1, by(id))}
		view, err := m.View(t.Context(), bob, units)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Commit(t.Context(), decided(t, units, view, whole(m.oldestFirst(bob)...), generous)); err != nil {
			t.Fatal(err)
		}
		return m.owners[bob].Supplies["0x0001"]
	}
	for i, want := range []keypackage.Supply{
		{}, {Level: keypackage.LevelLow, Count: 3, At: now}, {Level: keypackage.LevelLow, Count: 3, At: now},
		{Level: keypackage.LevelLast, Count: 1, At: now}, {Level: keypackage.LevelReserve, Count: 1, At: now},
		{Level: keypackage.LevelReserve, Count: 1, At: now},
	} {
		if got := claim(string(rune('a' + i))); got != want {
			t.Errorf("claim %d: %+v, want %+v", i+1, got, want)
		}
	}
	for i := range 9 {
		m.put(*candidate("new"+string(rune('a'+i)), 100))
	}
	for i, want := range []keypackage.Level{keypackage.LevelOK, keypackage.LevelOK, keypackage.LevelOK} {
		if got := claim("n" + string(rune('a'+i))); got.Level != want || got.Epoch != 1 {
			t.Errorf("claim %d after the refill: %+v; the exposed package is not all that she has", i+1, got)
		}
	}
}

func TestLevelsAreKnownOrNotTold(t *testing.T) {
	t.Parallel()
	truncated := whole(fresh(3)...)
	truncated.truncated = true
	for name, tt := range map[string]struct {
		stock *stock
		used  int
		want  keypackage.Level
	}{
		"all of it":       {whole(fresh(4)...), 0, keypackage.LevelLow},
		"enough":          {&stock{documents: fresh(9)}, 0, ""},
		"past the limit":  {truncated, 0, ""},
		"over budget":     {&stock{documents: fresh(3), newest: map[string]bool{"k3": true}}, 100, ""},
		"never runs out":  {whole(append(fresh(2), candidate("a", 1, addressable))...), 0, ""},
		"nothing is left": {whole(), 0, ""},
	} {
		plan := decided(t, []Unit{ask("r", 1)}, handedOut(tt.used), tt.stock, generous)
		if got := plan.Owner.Supplies["0x0001"].Level; got != tt.want || plan.Owner.Pending != (tt.want != "") {
			t.Errorf("%s: level %q, pending %v, want %q", name, got, plan.Owner.Pending, tt.want)
		}
		if tt.want != "" && !plan.WriteOwner {
			t.Errorf("%s: the level is not written", name)
		}
	}
}

// Where the stock is not read to its end, its documents are counted.
func TestLevelsByCount(t *testing.T) {
	t.Parallel()
	other := candidate("o", 9, suite(2))
	for name, tt := range map[string]struct {
		stock *stock
		want  int
	}{
		"five, one goes":               {&stock{documents: fresh(2), isCounted: true, counted: 5}, 0},
		"four, one goes":               {&stock{documents: fresh(2), isCounted: true, counted: 4}, 3},
		"five, one of them of another": {&stock{documents: append(fresh(2), other), isCounted: true, counted: 5}, 3},
		"four of the suite":            {&stock{documents: append(fresh(2), other), isCounted: true, counted: 4, countedOf: 1}, 3},
		"one is of no use":             {&stock{documents: append(fresh(2), candidate("e", 9, expired)), isCounted: true, counted: 5, countedOf: 1}, 3},
		"their tags say nothing":       {&stock{documents: fresh(5), isCounted: true, counted: 0, countedOf: 1}, 0},
		"nor those of the first two":   {&stock{documents: fresh(2), isCounted: true, counted: 0, countedOf: 1}, 0},
	} {
		plan := decided(t, []Unit{ask("r", 1, ofSuite(1))}, nothingKnown(), tt.stock, generous)
		if got := plan.Owner.Supplies["0x0001"].Count; got != tt.want {
			t.Errorf("%s: %d left, want %d", name, got, tt.want)
		}
	}
}

// A request for any ciphersuite may take of several at once: each package that goes counts once.
func TestLevelsByCountOfSeveralSuites(t *testing.T) {
	t.Parallel()
	documents := []*keypackage.Candidate{
		candidate("a1", 1), candidate("b1", 2, suite(2)), candidate("b2", 3, suite(2)), candidate("b3", 4, suite(2)), candidate("a2", 5),
	}
	all := &stock{documents: documents, isCounted: true, counted: 9} // four more of suite 1
	plan := decided(t, []Unit{ask("r", 3)}, nothingKnown(), all, generous)
	if got := plan.Owner.Supplies["0x0001"]; len(plan.Consumed) != 3 || got.Level != "" {
		t.Errorf("%d taken, told %+v with five left", len(plan.Consumed), got)
	}
}

// However many documents of no use come first, an owner with thirty good ones is told nothing.
func TestWhatIsOfNoUseIsNotTakenForTheStock(t *testing.T) {
	t.Parallel()
	for useless := range 70 {
		documents := fresh(30)
		for i := range useless {
			documents = append(documents, candidate(fmt.Sprint("useless", i), -1000+int64(i), expired))
		}
		d := newDesk(t, documents...)
		claim(t, d.first, signed(t, 1, forBob))
		if got := d.owners[bob].Supplies["0x0001"]; got.Level != "" {
			t.Errorf("behind %d: %+v", useless, got)
		}
	}
}

// A stock of ten is counted by the first claim, and again when a level may have been reached. Whatever sinks without a claim is
// told late, and never told wrong.
func TestDocumentsAreCountedOnlyWhenThatMatters(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(10)...)
	counts := 0
	d.fault = func(call string, done bool) error {
		if call == "CountSuite" && !done {
			counts++
		}
		return nil
	}
	requester := 0
	next := func() keypackage.Supply {
		requester++
		claim(t, d.first, signed(t, requester, forBob))
		return d.owners[bob].Supplies["0x0001"]
	}
	for left := 9; left >= 4; left-- {
		if got := next(); got.Level != "" || counts != 1 || d.owners[bob].AtLeast["0x0001"] != left {
			t.Errorf("%d left: %+v after %d counts, known %v", left, got, counts, d.owners[bob].AtLeast)
		}
	}
	if got := next(); got.Level != keypackage.LevelLow || got.Count != 3 || counts != 2 {
		t.Errorf("three left: %+v after %d counts", got, counts)
	}
	for i := range 9 {
		d.put(*candidate("new"+string(rune('a'+i)), 100))
	}
	if got := next(); got.Level != keypackage.LevelOK || got.Count != 11 || counts != 3 {
		t.Errorf("after the refill: %+v after %d counts", got, counts)
	}
	for id := range d.stock {
		if len(d.stock) > 4 { // deleted by her
			delete(d.stock, id)
		}
	}
	if got := next(); got.Level != keypackage.LevelOK || counts != 3 {
		t.Errorf("after the deletion: %+v after %d counts", got, counts)
	}
	for range 8 {
		next()
	}
	if got := next(); got.Level != keypackage.LevelReserve || got.Count != 1 {
		t.Errorf("at the end: %+v", got)
	}
}

// An owner who once had packages of a ciphersuite is told when a claim finds none.
func TestEmptyLevel(t *testing.T) {
	t.Parallel()
	view := nothingKnown()
	view.Owner.Supplies = map[string]keypackage.Supply{"0x0001": {Level: keypackage.LevelReserve, Epoch: 2, Notified: true}}
	plan := decided(t, []Unit{ask("r", 1)}, view, whole(), generous)
	if got := plan.Owner.Supplies["0x0001"]; got.Level != keypackage.LevelEmpty || got.Epoch != 2 || got.Count != 0 || !plan.WriteOwner {
		t.Errorf("got %+v", got)
	}
	if view.Owner.Supplies["0x0001"].Level != keypackage.LevelReserve {
		t.Error("the view was changed")
	}
}
