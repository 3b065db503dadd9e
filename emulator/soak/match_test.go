package soak

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestArrivalsAreMatchedWithDeliveries(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 0)
	delivery := func(id, requester, packageID string, from int, state keypackage.State) keypackage.Delivery {
		created := begin.Add(time.Duration(from) * time.Second)
		return keypackage.Delivery{
			ID: id, Requester: requester, PackageID: packageID, State: state, CreatedAt: created, ExpiresAt: created.Add(30 * time.Second),
		}
	}
	m := newMatcher(map[string]keypackage.Delivery{
		"returned": delivery("returned", "alice", "p", 0, keypackage.StateExpired),
		"again":    delivery("again", "alice", "p", 60, keypackage.StateDelivered),
		"unseen":   delivery("unseen", "alice", "reserve", 0, keypackage.StateExpired),
		"seen":     delivery("seen", "alice", "reserve", 1, keypackage.StateDelivered),
		"bob's":    delivery("bob's", "bob", "reserve", 2, keypackage.StateDelivered),
	})
	for _, step := range []struct {
		requester, packageID string
		after                int
		want                 string
	}{
		{"alice", "p", 65, "again"},     // what was handed out, returned and handed out again
		{"alice", "reserve", 5, "seen"}, // of two under way, the one that counts as delivered
		{"alice", "reserve", 6, "unseen"},
		{"bob", "reserve", 6, "bob's"},
		{"alice", "reserve", 7, "seen"}, // once more
		{"carol", "p", 65, "again"},     // somebody else's: the checker has to see it
		{"alice", "unknown", 5, ""},
	} {
		at := begin.Add(time.Duration(step.after) * time.Second)
		got := m.match(step.requester, step.packageID, at)
		if got != step.want {
			t.Errorf("%s received %s after %d s: %q, want %q", step.requester, step.packageID, step.after, got, step.want)
		}
		m.arrived[got] = at
	}
}
