package claiming

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// An owner whose stock ended counts once; one who never had any does not: strangers can ask for either as often as they like.
func TestStrangersDoNotCountAsEmptyOwners(t *testing.T) {
	t.Parallel()
	bobs := candidate("k1", 1)
	d := newDesk(t, bobs)
	type counts struct{ owners, empty, outOfStock int }
	ask := func(requester int, reason string, want counts) {
		t.Helper()
		doc := signed(t, requester, forBob)
		r := claim(t, d.first, doc)
		if got := (counts{r.Owners, r.Empty, r.OutOfStock}); got != want || r.Reason != reason {
			t.Errorf("requester %d: %+v, reason %q; want %+v, %q", requester, got, r.Reason, want, reason)
		}
	}
	ask(1, "", counts{owners: 1})
	delete(d.stock, bobs.ID)
	ask(2, "", counts{owners: 1, empty: 1})
	ask(3, ReasonOutOfStock, counts{outOfStock: 1})
	d.put(*candidate("k2", 2))
	ask(4, "", counts{owners: 1})
	delete(d.stock, "k2")
	ask(5, "", counts{owners: 1, empty: 1})

	d.put(*candidate("flawed", 1, flawed))
	ask(6, ReasonOutOfStock, counts{outOfStock: 1})
	d.put(*candidate("k3", 3))
	ask(7, "", counts{owners: 1})
	delete(d.stock, "k3")
	ask(8, keypackage.ReasonUnusable, counts{owners: 1, empty: 1})

	d = newDesk(t)
	ask(1, ReasonOutOfStock, counts{outOfStock: 1})
	if d.owners[bob].Pubkey != "" {
		t.Error("a request for nobody's packages wrote an owner")
	}
}

// A trigger's second call repeats the answer, which was counted by the first.
func TestRepeatedAnswersSayThatTheyAre(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob)
	if got := claim(t, d.first, doc); got.Repeated {
		t.Errorf("the first answer: %+v", got)
	}
	d.clock = d.clock.Add(time.Second)
	if got := claim(t, d.first, doc); !got.Repeated || got.Outcome != keypackage.OutcomeGranted || got.Age != 0 {
		t.Errorf("the second: %+v", got)
	}
}
