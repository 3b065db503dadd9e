package keypackage_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// answer returns the answer to a request, with one claim for each status, of as many owners.
func answer(statuses ...keypackage.Status) (a keypackage.Answer) {
	owners := make([]string, len(statuses))
	for i := range owners {
		owners[i] = newIdentity(100 + i).pubkey
	}
	for i, status := range statuses {
		claim := keypackage.Claim{RequestID: "r", Owner: owners[i], Owners: owners, Status: status, Requested: 2}
		switch status {
		case keypackage.StatusFull:
			claim.Granted = 2
		case keypackage.StatusPartial:
			claim.Granted = 1
		}
		a.Claims = append(a.Claims, claim)
	}
	return a
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for statuses, want := range map[string]keypackage.Outcome{
		"full":                  keypackage.OutcomeGranted,
		"full full":             keypackage.OutcomeGranted,
		"partial":               keypackage.OutcomePartial,
		"full partial":          keypackage.OutcomePartial,
		"full none":             keypackage.OutcomePartial,
		"none full":             keypackage.OutcomePartial,
		"limited partial":       keypackage.OutcomePartial,
		"limited full no_match": keypackage.OutcomePartial,
		"limited":               keypackage.OutcomeLimited,
		"none limited":          keypackage.OutcomeLimited,
		"none no_match limited": keypackage.OutcomeLimited,
		"no_match":              keypackage.OutcomeNoMatch,
		"none no_match":         keypackage.OutcomeNoMatch,
		"none":                  keypackage.OutcomeNone,
		"none none":             keypackage.OutcomeNone,
	} {
		var all []keypackage.Status
		for s := range strings.FieldsSeq(statuses) {
			all = append(all, keypackage.Status(s))
		}
		if a := answer(all...); a.Outcome() != want || !a.Complete() {
			t.Errorf("%s: %s, complete %v, want %s", statuses, a.Outcome(), a.Complete(), want)
		}
	}
}

func TestAnswerKnowsWhatIsMissing(t *testing.T) {
	t.Parallel()
	all := answer(keypackage.StatusFull, keypackage.StatusNone, keypackage.StatusLimited)
	for n := range 3 {
		if part := (keypackage.Answer{Claims: all.Claims[:n]}); part.Complete() || part.Empty() != (n == 0) {
			t.Errorf("%d of 3 claims are said to be all, or nothing", n)
		}
	}
}

// The outcome as the contract words it, for any number of owners in any order.
func TestOutcomeProperty(t *testing.T) {
	t.Parallel()
	every := []keypackage.Status{
		keypackage.StatusFull, keypackage.StatusPartial, keypackage.StatusLimited, keypackage.StatusNoMatch, keypackage.StatusNone,
	}
	rapid.Check(t, func(t *rapid.T) {
		statuses := rapid.SliceOfN(rapid.SampledFrom(every), 1, 5).Draw(t, "statuses")
		has := make(map[keypackage.Status]bool)
		for _, s := range statuses {
			has[s] = true
		}
		var want keypackage.Outcome
		switch {
		case has[keypackage.StatusFull] && len(has) == 1:
			want = keypackage.OutcomeGranted
		case has[keypackage.StatusFull], has[keypackage.StatusPartial]:
			want = keypackage.OutcomePartial
		case has[keypackage.StatusLimited]:
			want = keypackage.OutcomeLimited
		case has[keypackage.StatusNoMatch]:
			want = keypackage.OutcomeNoMatch
		default:
			want = keypackage.OutcomeNone
		}
		if a := answer(statuses...); a.Outcome() != want || !a.Complete() {
			t.Fatalf("%v: %s, want %s", statuses, a.Outcome(), want)
		}
	})
}

// A dismissal is the whole answer, and says so in one row.
func TestDismissal(t *testing.T) {
	t.Parallel()
	for _, d := range []keypackage.Dismissal{
		{Outcome: keypackage.OutcomeRejected, Reason: string(keypackage.RejectSelf)},
		{Outcome: keypackage.OutcomeObserved, Observed: []keypackage.Row{{Owner: bob.pubkey, Granted: 2}}},
	} {
		d.RequestID, d.Requester, d.Requested, d.Authentic, d.CreatedAt, d.KeepUntil = "r", alice.pubkey, 3, true, now, now.Add(time.Hour)
		a := keypackage.Answer{Dismissal: &d}
		if a.Outcome() != d.Outcome || !a.Complete() || a.Empty() || a.Observed() != (d.Outcome == keypackage.OutcomeObserved) {
			t.Errorf("%s: %s, complete %v, observed %v", d.Outcome, a.Outcome(), a.Complete(), a.Observed())
		}
		want := keypackage.Row{Requested: 3, Reason: "self_request"}
		if d.Reason == "" {
			want.Reason = "observed"
		}
		if rows := a.Rows(); len(rows) != 1 || !reflect.DeepEqual(rows[0], want) || a.Granted() != 0 || len(a.Deliveries()) != 0 {
			t.Errorf("%s: rows %+v, want %+v", d.Outcome, rows, want)
		}
		if a.RequestID() != "r" || a.Requester() != alice.pubkey || !a.Authentic() || !a.CreatedAt().Equal(now) || !a.KeepUntil().Equal(now.Add(time.Hour)) {
			t.Errorf("%s: %+v", d.Outcome, a)
		}
	}
}

// What is said of a request as a whole is what its claims say together.
func TestAnswerOfClaims(t *testing.T) {
	t.Parallel()
	a := answer(keypackage.StatusFull, keypackage.StatusPartial)
	for i := range a.Claims {
		c := &a.Claims[i]
		c.Requester, c.Authentic, c.CreatedAt, c.KeepUntil = alice.pubkey, true, now.Add(-time.Duration(i)*time.Hour), now
		c.DeliveryIDs = []string{fmt.Sprint("r_k", 2-i), "joined"}
	}
	a.Claims[1].Owner = a.Claims[0].Owner // of one package
	if a.RequestID() != "r" || a.Requester() != alice.pubkey || !a.Authentic() || !a.CreatedAt().Equal(now) || !a.KeepUntil().Equal(now) || a.Granted() != 3 {
		t.Errorf("got %+v", a)
	}
	if refs := a.Deliveries(); len(refs) != 3 || refs[0].ID != "joined" || refs[1].ID != "r_k1" || refs[2].ID != "r_k2" {
		t.Errorf("deliveries %+v", refs)
	}
	if c, ok := a.Claim(a.Claims[0].Owner); !ok || c.Status != keypackage.StatusFull || len(a.Rows()) != 2 {
		t.Errorf("the first owner's claim: %+v, %v", c, ok)
	}
	if _, ok := a.Claim("nobody"); ok {
		t.Error("nobody has a claim")
	}
}

func TestAnswerNames(t *testing.T) {
	t.Parallel()
	claim := keypackage.Claim{RequestID: "r", Owner: "o"}
	if claim.ID() != "r_o" || keypackage.DismissalID("r") != "r_" {
		t.Errorf("got %q and %q", claim.ID(), keypackage.DismissalID("r"))
	}
	if got := keypackage.KeepAnswerUntil(now); !got.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("an answer is kept until %v", got)
	}
}
