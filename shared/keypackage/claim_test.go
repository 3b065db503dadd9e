package keypackage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// units returns the records of a request, one for each status, for as many owners.
func units(statuses ...keypackage.Status) []keypackage.Claim {
	owners := make([]string, len(statuses))
	for i := range owners {
		owners[i] = newIdentity(100 + i).pubkey
	}
	records := make([]keypackage.Claim, len(statuses))
	for i, status := range statuses {
		records[i] = keypackage.Claim{RequestID: "r", Owner: owners[i], Owners: owners, Status: status, Requested: 2}
		switch status {
		case keypackage.StatusFull:
			records[i].Granted = 2
		case keypackage.StatusPartial:
			records[i].Granted = 1
		}
	}
	return records
}

func TestConclude(t *testing.T) {
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
		if got, complete := keypackage.Conclude(units(all...)); got != want || !complete {
			t.Errorf("%s: %s, complete %v, want %s", statuses, got, complete, want)
		}
	}
	for _, status := range []keypackage.Status{keypackage.StatusRejected, keypackage.StatusObserved} {
		if got, complete := keypackage.Conclude([]keypackage.Claim{{RequestID: "r", Status: status}}); string(got) != string(status) || !complete {
			t.Errorf("%s as a whole: %s, complete %v", status, got, complete)
		}
	}
}

func TestConcludeKnowsWhatIsMissing(t *testing.T) {
	t.Parallel()
	all := units(keypackage.StatusFull, keypackage.StatusNone, keypackage.StatusLimited)
	for n := range 3 {
		if _, complete := keypackage.Conclude(all[:n]); complete {
			t.Errorf("%d of 3 records are said to be all", n)
		}
	}
}

// The outcome as the contract words it, for any number of owners in any order.
func TestConcludeProperty(t *testing.T) {
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
		if got, complete := keypackage.Conclude(units(statuses...)); got != want || !complete {
			t.Fatalf("%v: %s, want %s", statuses, got, want)
		}
	})
}

// A row says why it is not full, in the unit's reason if it has one.
func TestRow(t *testing.T) {
	t.Parallel()
	retry := now.Add(time.Hour)
	for _, tt := range []struct {
		status keypackage.Status
		reason string
		want   string
	}{
		{keypackage.StatusFull, "", ""},
		{keypackage.StatusFull, keypackage.ReasonBudget, "budget"},
		{keypackage.StatusPartial, "", "partial"},
		{keypackage.StatusNone, "", "none"},
		{keypackage.StatusNone, keypackage.ReasonStale, "stale"},
		{keypackage.StatusNoMatch, keypackage.ReasonScanLimit, "scan_limit"},
		{keypackage.StatusLimited, keypackage.ReasonPairLimit, "pair_limit"},
		{keypackage.StatusRejected, "self_request", "self_request"},
	} {
		record := keypackage.Claim{
			Owner: bob.pubkey, Status: tt.status, Reason: tt.reason, Requested: 3, Granted: 1, Reserve: true, RetryAt: retry,
		}
		want := keypackage.Row{Owner: bob.pubkey, Requested: 3, Granted: 1, Reserve: true, Reason: tt.want, RetryAt: retry}
		if got := record.Row(); got != want {
			t.Errorf("%s: got %+v", tt.status, got)
		}
	}
}

func TestRecordNames(t *testing.T) {
	t.Parallel()
	unit := keypackage.Claim{RequestID: "r", Owner: "o"}
	whole := keypackage.Claim{RequestID: "r"}
	if unit.ID() != "r_o" || whole.ID() != "r_" {
		t.Errorf("got %q and %q", unit.ID(), whole.ID())
	}
	if got := keypackage.KeepClaimUntil(now); !got.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("a record is kept until %v", got)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	pair := keypackage.Pair{Open: []keypackage.OpenDelivery{
		{DeliveryID: "joinable", ExpiresAt: now.Add(keypackage.JoinMargin)},
		{DeliveryID: "too late", ExpiresAt: now.Add(keypackage.JoinMargin - 1)},
		{DeliveryID: "over", ExpiresAt: now.Add(-time.Hour)},
	}}
	if pair.Prune(now); len(pair.Open) != 1 || pair.Open[0].DeliveryID != "joinable" {
		t.Errorf("got %v", pair.Open)
	}
	for i := range 5000 {
		pair.Open = append(pair.Open, keypackage.OpenDelivery{DeliveryID: fmt.Sprint(i), ExpiresAt: now.Add(time.Hour)})
	}
	if pair.Prune(now); len(pair.Open) != 1000 || pair.Open[999].DeliveryID != "4999" {
		t.Errorf("%d are left, the last is %v", len(pair.Open), pair.Open[len(pair.Open)-1])
	}
}
