package claiming

import (
	"maps"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// supplies records which levels the plan makes the owner's stock reach. It needs to know how much is left, up to the
// number that counts as refilled, of every ciphersuite that something is taken from. Where the stock was not read to its end,
// its documents are counted, unless the level is good and so much is known to be left that it stays so. What is known comes
// from the last count, less what claims took since; every claim that takes something writes the owner's document under the
// condition that no other has. If her stock sank otherwise, a notice is late, at most until the stock's end is read.
func (d *decision) supplies() error {
	owner, before := &d.plan.Owner, d.view.Owner
	owner.Supplies, owner.AtLeast = maps.Collect(maps.All(before.Supplies)), maps.Collect(maps.All(before.AtLeast)) // never nil
	for suite, touched := range d.watched() {
		key := keypackage.SuiteKey(suite)
		count, endless, reserve := d.left(suite)
		known := max(count, owner.AtLeast[key]-d.consumed(suite)-len(d.plan.Removed)) // of whatever suites these are
		owner.AtLeast[key] = known
		switch {
		case endless:
			continue
		case d.stock.complete && !d.stock.truncated:
			if touched && count <= keypackage.LowStock {
				d.require(d.ofSuite(suite)...)
			}
		case !touched || d.stock.complete || d.cut:
			continue // over budget or past a bound: not known
		case !before.Supplies[key].Sunk() && known > keypackage.LowStock:
			continue
		case !d.stock.isCounted:
			return errNotCounted
		default:
			uncounted, ok := d.uncounted(suite)
			if !ok {
				continue
			}
			count, reserve = max(count, uncounted), false
		}
		owner.AtLeast[key] = count
		if supply, changed := before.Supplies[key].Sink(count, reserve, d.now); changed {
			owner.Supplies[key], d.plan.WriteOwner = supply, true
		}
	}
	owner.Pending = len(owner.DueNotices()) > 0
	return nil
}

func (d *decision) consumed(suite mls.Ciphersuite) (n int) {
	for _, h := range d.plan.Consumed {
		if h.Candidate.Suite == suite {
			n++
		}
	}
	return n
}

// uncounted estimates what is left of a ciphersuite by the number of documents, without those that are known to be of another or of
// no use. A notice is a service: it may come late if the rest is not what it says. The count says nothing if not even what was read
// of the ciphersuite claims to be of it.
func (d *decision) uncounted(suite mls.Ciphersuite) (left int, ok bool) {
	left = d.stock.counted - d.consumed(suite)
	read := 0
	for _, c := range d.stock.documents {
		switch {
		case c.Suite != suite && d.stock.countedOf == 0:
			left--
		case c.Suite == suite:
			if read++; !c.Valid(d.now) {
				left--
			}
		}
	}
	return left, d.stock.countedOf == 0 || d.stock.counted >= read
}

func (d *decision) ofSuite(suite mls.Ciphersuite) []*keypackage.Candidate {
	return slices.DeleteFunc(slices.Clone(d.valid), func(c *keypackage.Candidate) bool { return c.Suite != suite })
}

// noteStocked notes whether the owner has anything at all, so that her stock's end counts once, however often strangers ask
// for her afterwards.
func (d *decision) noteStocked() {
	gives := len(d.plan.Consumed)+len(d.plan.Reserves) > 0
	isEmpty := d.stock.complete && !d.stock.truncated && len(d.valid) == 0
	if (gives || isEmpty) && d.plan.Owner.Stocked != gives {
		d.plan.Owner.Stocked, d.plan.WriteOwner = gives, true
	}
}

// watched returns the ciphersuites whose level may have changed: those that something is taken from (true), and those
// that the owner is known to have had.
func (d *decision) watched() map[mls.Ciphersuite]bool {
	suites := make(map[mls.Ciphersuite]bool)
	for key := range d.plan.Owner.Supplies {
		if suite, ok := mls.ParseCiphersuite(key); ok {
			suites[suite] = false
		}
	}
	for _, h := range slices.Concat(d.plan.Consumed, d.plan.Reserves) {
		suites[h.Candidate.Suite] = true
	}
	return suites
}

// left counts what stays of a ciphersuite as far as the stock was read. endless says that an addressable package is among
// it, which never runs out; reserve that all of it has been handed out as a reserve. One that was handed out so before the
// owner uploaded others says nothing about these.
func (d *decision) left(suite mls.Ciphersuite) (count int, endless, reserve bool) {
	of := d.ofSuite(suite)
	isAddressable := func(c *keypackage.Candidate) bool { return c.Addressable }
	isFresh := func(c *keypackage.Candidate) bool { return c.Use != keypackage.UseReserve }
	return len(of), slices.ContainsFunc(of, isAddressable), len(of) > 0 && !slices.ContainsFunc(of, isFresh)
}
