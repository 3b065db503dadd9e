package keypackage_test

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

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
		{keypackage.StatusNone, keypackage.ReasonUnusable, "unusable"},
		{keypackage.StatusNoMatch, keypackage.ReasonScanLimit, "scan_limit"},
		{keypackage.StatusLimited, keypackage.ReasonPairLimit, "pair_limit"},
	} {
		claim := keypackage.Claim{
			Owner: bob.pubkey, Status: tt.status, Reason: tt.reason, Requested: 3, Granted: 1, Reserve: true, RetryAt: retry,
		}
		want := keypackage.Row{Owner: bob.pubkey, Requested: 3, Granted: 1, Reserve: true, Reason: tt.want, RetryAt: retry}
		if got := claim.Row(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v", tt.status, got)
		}
	}
}

// A row names the packages of all deliveries, joined ones too, and says which is the reserve, whenever it was granted.
func TestRowNamesThePackages(t *testing.T) {
	t.Parallel()
	for _, reserve := range []int{-1, 0, 1, 2} {
		claim := keypackage.Claim{RequestID: "r"}
		want := make(map[string]bool)
		for i, id := range []string{"earlier_a", "r_b", "r_c"} {
			claim.Grant(&keypackage.Delivery{ID: id, Reserve: i == reserve})
			want[keypackage.PackageOf(id)] = i == reserve
		}
		got := make(map[string]bool)
		for _, p := range claim.Row().Packages {
			got[p.ID] = p.Reserve
		}
		if !maps.Equal(got, want) || claim.Granted != 3 || len(claim.DeliveryIDs) != 3 || claim.Reserve != (reserve >= 0) {
			t.Errorf("named %v, want %v, of %+v", got, want, claim)
		}
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
