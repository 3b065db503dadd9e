package keypackage_test

import (
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const day = 24 * time.Hour

// An entry outlives every moment at which a document with its bytes could be valid.
func TestLedgerIsKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expires, notAfter time.Duration // from now; 0: unknown
		want              time.Duration // 0: for ever
	}{
		"at least 90 days":               {time.Hour, 10 * day, 90 * day},
		"a day beyond the lifetime":      {time.Hour, 100 * day, 101 * day},
		"a day beyond, by a minute":      {time.Hour, 89*day + time.Minute, 90*day + time.Minute},
		"a day beyond the expiry":        {95 * day, 10 * day, 96 * day},
		"opaque bytes may come back":     {time.Hour, 0, 0},
		"opaque, said to expire in time": {200 * day, 0, 0},
	} {
		c := candidate("k", 1)
		c.ExpiresAt = now.Add(tt.expires)
		if tt.notAfter != 0 {
			c.NotAfter = now.Add(tt.notAfter)
		}
		entry := keypackage.NewLedger(&c.Package, keypackage.UseOneTime, "d", now)
		if want := now.Add(tt.want); tt.want == 0 && !entry.KeepUntil.IsZero() || tt.want != 0 && !entry.KeepUntil.Equal(want) {
			t.Errorf("%s: kept until %v", name, entry.KeepUntil)
		}
	}
}

func TestLedgerEntry(t *testing.T) {
	t.Parallel()
	c := candidate("k", 1)
	entry := keypackage.NewLedger(&c.Package, keypackage.UseOneTime, "d", now)
	if entry.Hash != c.Hash || entry.Owner != bob.pubkey || entry.DeliveryID != "d" || entry.PackageID != "k" ||
		entry.Use != keypackage.UseOneTime || !entry.FirstUse.Equal(now) || entry.CheckShard != 0 {
		t.Errorf("got %+v", entry)
	}
	for name, tt := range map[string]struct {
		candidate *keypackage.Candidate
		retirable bool
	}{
		"ordinary":       {candidate("k", 1), true},
		"of last resort": {candidate("k", 1, lastResort), false},
		"addressable":    {candidate("k", 1, addressable), false},
	} {
		entry := keypackage.NewLedger(&tt.candidate.Package, keypackage.UseReserve, "d", now)
		inShard := entry.CheckShard >= 1 && entry.CheckShard <= keypackage.Shards
		if inShard != tt.retirable || (entry.CheckShard != 0) != tt.retirable || entry.CheckAt.IsZero() == tt.retirable {
			t.Errorf("%s, as reserve: in shard %d, to be looked at %v", name, entry.CheckShard, entry.CheckAt)
		}
	}
}

// The watch over a reserve becomes rarer, but never stops.
func TestPostpone(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]time.Duration{
		0: keypackage.RetireAfter, 20 * time.Minute: keypackage.RetireAfter, 2 * time.Hour: 30 * time.Minute, 50 * day: time.Hour,
	} {
		entry := keypackage.Ledger{FirstUse: now.Add(-age)}
		if entry.Postpone(now); !entry.CheckAt.Equal(now.Add(want)) {
			t.Errorf("%v after the exposure: next look after %v, want %v", age, entry.CheckAt.Sub(now), want)
		}
	}
}
