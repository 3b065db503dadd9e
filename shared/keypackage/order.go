package keypackage

import (
	"cmp"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// class is a candidate's place in the order of use, the lowest first. What was never handed out comes before what was, so
// that a requester gets a key nobody else has. Last resorts come later still, because only for those does the owner keep the
// private key after the first use. An addressable package is never used up and comes last of all.
func (c *Candidate) class() (class int) {
	if c.Addressable {
		return 4
	}
	if c.LastResort {
		class = 2
	}
	if c.Use == UseReserve {
		class++
	}
	return class
}

// OneTime reports whether the candidate may be handed out as a one-time package: not addressable, and never handed out.
func (c *Candidate) OneTime() bool { return c.Use == UseNone && !c.Addressable }

// CompareUse orders candidates by use: by class, then the oldest, whose private key the owner discards next, then the lower id.
func CompareUse(a, b *Candidate) int {
	return cmp.Or(cmp.Compare(a.class(), b.class()), CompareAge(a, b))
}

// NewestLimit is how many newest documents stand for an owner's last uploads: over her budget, and to replace her reserve.
const NewestLimit = 64

// CompareAge orders candidates by age, the oldest first; ties by the lower event id. A date that is no integer comes last:
// Firestore sorts every number before every timestamp, so a claim that reads oldest first meets those last, too.
func CompareAge(a, b *Candidate) int {
	if a.Misdated != b.Misdated {
		if b.Misdated {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// Distinct returns the candidates without those whose bytes already stand earlier in the list: documents with the same
// owner and bytes are one package. If any of the documents is addressable, so is the package.
func Distinct(candidates []*Candidate) []*Candidate {
	first := make(map[string]*Candidate, len(candidates))
	distinct := make([]*Candidate, 0, len(candidates))
	for _, c := range candidates {
		switch twin, seen := first[c.Hash]; {
		case !seen:
			distinct = append(distinct, c)
		case c.Addressable && !twin.Addressable:
			distinct[slices.Index(distinct, twin)] = c
		default:
			continue
		}
		first[c.Hash] = c
	}
	return distinct
}

// Current returns the candidates without addressable packages that a newer one, or one as old with a lower id, has replaced.
func Current(candidates []*Candidate) []*Candidate {
	newest := make(map[string]*Candidate)
	for _, c := range candidates {
		other, ok := newest[c.Slot]
		if c.Addressable && (!ok || c.CreatedAt > other.CreatedAt || (c.CreatedAt == other.CreatedAt && c.ID < other.ID)) {
			newest[c.Slot] = c
		}
	}
	return slices.DeleteFunc(slices.Clone(candidates), func(c *Candidate) bool {
		return c.Addressable && newest[c.Slot] != c
	})
}

// Reserves returns, of a whole stock of valid and distinct candidates, the reserve of each suite: the last in the order of use.
func Reserves(stock []*Candidate) map[mls.Ciphersuite]*Candidate {
	reserves := make(map[mls.Ciphersuite]*Candidate)
	for _, c := range stock {
		if last, ok := reserves[c.Suite]; !ok || CompareUse(c, last) > 0 {
			reserves[c.Suite] = c
		}
	}
	return reserves
}
