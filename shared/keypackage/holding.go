package keypackage

import (
	"maps"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Holding is what an owner has, and had, of one ciphersuite. It counts packages: documents with the same bytes are one.
type Holding struct {
	Suite     string `json:"ciphersuite"` // SuiteKey; "" for what could not even be read
	OneTime   int    `json:"one_time"`    // would be handed out once
	Reserve   int    `json:"reserve"`     // are handed out again and again, as long as nothing else is left
	HandedOut int    `json:"handed_out"`  // were handed out as one-time packages, since the ledger remembers
	Shared    int    `json:"shared"`      // were handed out as reserves; they may still be in stock
	// Unusable counts documents that are not handed out, by flaw or constant below, and ledger entries that cannot be read.
	Unusable map[string]int `json:"unusable,omitempty"`
}

// Why a package without a flaw is not handed out.
const (
	UnusableDeleted  = "deleted"
	UnusableUsed     = "used"
	UnusableExpired  = "expired"
	UnusableNotBegun = string(mls.ErrNotBegun)

	UnusableUnreadable = "unreadable_ledger_entry"
)

// Holdings sums up an owner's whole stock and ledger, one entry per ciphersuite, sorted.
func Holdings(stock []*Candidate, ledger []Ledger, now time.Time) []Holding {
	bySuite := make(map[string]*Holding)
	of := func(suite string) *Holding {
		if bySuite[suite] == nil {
			bySuite[suite] = &Holding{Suite: suite, Unusable: make(map[string]int)}
		}
		return bySuite[suite]
	}
	var valid []*Candidate
	for _, c := range stock {
		if reason := c.unusable(now); reason != "" {
			of(c.suiteKey()).Unusable[reason]++
		} else {
			valid = append(valid, c)
		}
	}
	valid = Distinct(Current(valid))
	reserves := Reserves(valid)
	for _, c := range valid {
		if h := of(c.suiteKey()); c.OneTime() && reserves[c.Suite] != c {
			h.OneTime++
		} else {
			h.Reserve++
		}
	}
	for _, entry := range ledger {
		switch h := of(entry.Suite); entry.Use {
		case UseOneTime:
			h.HandedOut++
		case UseReserve:
			h.Shared++
		default:
			h.Unusable[UnusableUnreadable]++
		}
	}
	var all []Holding
	for _, suite := range slices.Sorted(maps.Keys(bySuite)) {
		all = append(all, *bySuite[suite])
	}
	return all
}

func (c *Candidate) suiteKey() string {
	if c.Suite == 0 {
		return ""
	}
	return SuiteKey(c.Suite)
}

// unusable returns why the candidate is not Valid, or "".
func (c *Candidate) unusable(now time.Time) string {
	switch {
	case c.Flaw != "":
		return c.Flaw
	case c.Tombstoned:
		return UnusableDeleted
	case c.Use == UseOneTime:
		return UnusableUsed
	case c.Expired(now):
		return UnusableExpired
	case !c.Begun(now):
		return UnusableNotBegun
	}
	return ""
}
