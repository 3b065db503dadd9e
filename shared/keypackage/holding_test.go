package keypackage_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func TestHoldings(t *testing.T) {
	t.Parallel()
	now := time.Now()
	stocked := func(suite mls.Ciphersuite, hash string, change func(*keypackage.Candidate)) *keypackage.Candidate {
		c := &keypackage.Candidate{Package: keypackage.Package{
			ID: hash, Suite: suite, Hash: hash, CreatedAt: now.Unix(), ExpiresAt: now.Add(time.Hour),
		}}
		if change != nil {
			change(c)
		}
		return c
	}
	stock := []*keypackage.Candidate{
		stocked(1, "a", nil),
		stocked(1, "b", nil),
		stocked(1, "b", func(c *keypackage.Candidate) { c.ID = "twin of b" }),
		stocked(1, "c", func(c *keypackage.Candidate) { c.Use = keypackage.UseReserve }),
		stocked(1, "d", func(c *keypackage.Candidate) { c.Use = keypackage.UseOneTime }),
		stocked(1, "e", func(c *keypackage.Candidate) { c.Tombstoned = true }),
		stocked(1, "f", func(c *keypackage.Candidate) { c.ExpiresAt = now }),
		stocked(1, "g", func(c *keypackage.Candidate) {
			c.Lifetime = &mls.Lifetime{NotBefore: uint64(now.Unix()) + 600, NotAfter: uint64(now.Unix()) + 1200}
		}),
		stocked(2, "h", nil),
		stocked(3, "i", nil),
		stocked(3, "j", func(c *keypackage.Candidate) { c.Addressable = true }),
		stocked(0, "k", func(c *keypackage.Candidate) { c.Flaw = keypackage.FlawUnparsable }),
	}
	ledger := []keypackage.Ledger{
		{Suite: "0x0001", Use: keypackage.UseOneTime}, {Suite: "0x0001", Use: keypackage.UseOneTime},
		{Suite: "0x0001", Use: keypackage.UseReserve}, {Suite: "0x0007", Use: keypackage.UseOneTime},
	}
	none := map[string]int{}
	want := []keypackage.Holding{
		{Suite: "", Unusable: map[string]int{"unparsable": 1}},
		{Suite: "0x0001", OneTime: 2, Reserve: 1, HandedOut: 2, Shared: 1,
			Unusable: map[string]int{"used": 1, "deleted": 1, "expired": 1, "lifetime_not_begun": 1}},
		{Suite: "0x0002", Reserve: 1, Unusable: none},
		{Suite: "0x0003", OneTime: 1, Reserve: 1, Unusable: none},
		{Suite: "0x0007", HandedOut: 1, Unusable: none},
	}
	if got := keypackage.Holdings(stock, ledger, now); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}
