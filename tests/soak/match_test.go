package main

import (
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestArrivalsAreMatchedWithDeliveries(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 0)
	after := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	deliveries, pushes := make(map[string]keypackage.Delivery), make(map[string][]period)
	for id, d := range map[string]struct {
		requester, packageID string
		state                keypackage.State
		pushed               []int
	}{
		"returned":  {"alice", "p", keypackage.StateExpired, nil},
		"again":     {"alice", "p", keypackage.StateDelivered, []int{64, 70}},
		"unclear":   {"alice", "reserve", keypackage.StateExpired, []int{4}},
		"early":     {"alice", "reserve", keypackage.StateDelivered, []int{4}},
		"late":      {"alice", "reserve", keypackage.StateDelivered, []int{7}},
		"bob's":     {"bob", "reserve", keypackage.StateDelivered, []int{5}},
		"different": {"alice", "other", keypackage.StateDelivered, []int{4}},
	} {
		deliveries[id] = keypackage.Delivery{ID: id, Requester: d.requester, PackageID: d.packageID, State: d.state, CreatedAt: begin}
		for _, at := range d.pushed {
			pushes[id] = append(pushes[id], period{since: after(at), until: after(at + 1)})
		}
	}
	for name, test := range map[string]struct {
		requester, packageID string
		at                   []int
		want                 []string
		repeated             int
	}{
		"handed out, returned and handed out again": {"alice", "p", []int{65}, []string{"again"}, 0},
		"repeated":             {"alice", "p", []int{65, 71}, []string{"again", "again"}, 1},
		"two under way":        {"alice", "reserve", []int{5, 8}, []string{"early", "late"}, 0},
		"read late":            {"alice", "reserve", []int{8, 8}, []string{"early", "late"}, 0},
		"an unclear one too":   {"alice", "reserve", []int{5, 6, 8}, []string{"early", "late", "unclear"}, 0},
		"moved on":             {"alice", "reserve", []int{8, 5}, []string{"early", "late"}, 0},
		"before its only push": {"bob", "reserve", []int{4}, []string{""}, 1}, // the checker has to see it
		"somebody else's":      {"carol", "p", []int{65}, []string{""}, 1},    // and this
		"unknown":              {"alice", "unknown", []int{5}, []string{""}, 1},
	} {
		m := newMatcher(deliveries, pushes)
		times := make([]time.Time, len(test.at))
		for i, at := range test.at {
			times[i] = after(at)
		}
		got := slices.Sorted(slices.Values(m.match(test.requester, test.packageID, times))) // which is which cannot be known
		if !slices.Equal(got, test.want) || m.repeated != test.repeated {
			t.Errorf("%s: %q, %d repeated, want %q, %d", name, got, m.repeated, test.want, test.repeated)
		}
	}
}
