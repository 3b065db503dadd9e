package main

import (
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestArrivalsAreAttributed(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 0)
	after := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	delivery := func(id, packageID string, state keypackage.State, created int) keypackage.Delivery {
		return keypackage.Delivery{
			ID: id, Requester: "alice", PackageID: packageID, State: state, CreatedAt: after(created), ExpiresAt: after(created + 30),
		}
	}
	deliveries := map[string]keypackage.Delivery{
		"bob's": {ID: "bob's", Requester: "bob", PackageID: "p", CreatedAt: begin, ExpiresAt: after(99)},
	}
	for _, d := range []keypackage.Delivery{
		delivery("returned", "p", keypackage.StateExpired, 0),
		delivery("again", "p", keypackage.StateDelivered, 64),
		delivery("unclear", "reserve", keypackage.StateExpired, 3),
		delivery("late", "reserve", keypackage.StateDelivered, 7),
		delivery("early", "reserve", keypackage.StateDelivered, 4),
		delivery("different", "other", keypackage.StateDelivered, 4),
	} {
		deliveries[d.ID] = d
	}
	for name, test := range map[string]struct {
		packageID string
		at        []int
		want      []string
		repeated  int
	}{
		"handed out, returned and handed out again": {"p", []int{65}, []string{"again"}, 0},
		"returned, and it arrived":                  {"p", []int{5}, []string{"returned"}, 0}, // the checker has to see it
		"repeated":                                  {"p", []int{65, 71}, []string{"again", "again"}, 1},
		"two under way":                             {"reserve", []int{5, 8}, []string{"early", "late"}, 0},
		"both read late":                            {"reserve", []int{8, 8}, []string{"early", "late"}, 0},
		"read after its end":                        {"reserve", []int{8, 41}, []string{"early", "late"}, 0},
		"an unclear one too":                        {"reserve", []int{5, 6, 8}, []string{"early", "unclear", "late"}, 0},
		"in another order":                          {"reserve", []int{8, 5}, []string{"early", "late"}, 0},
		"before it was granted":                     {"other", []int{3}, []string{""}, 0},
		"unknown":                                   {"unknown", []int{5}, []string{""}, 0},
	} {
		var arrivals []actors.KeyPackage
		for _, at := range test.at {
			arrivals = append(arrivals, actors.KeyPackage{Event: &nostr.Event{ID: test.packageID}, At: after(at)})
		}
		var got []string
		repeated := 0
		for _, r := range attribute("alice", arrivals, deliveries) {
			if slices.Contains(got, r.DeliveryID) {
				repeated++
			}
			got = append(got, r.DeliveryID)
		}
		if !slices.Equal(got, test.want) || repeated != test.repeated {
			t.Errorf("%s: %q, %d repeated, want %q, %d", name, got, repeated, test.want, test.repeated)
		}
	}
}
