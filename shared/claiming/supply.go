package claiming

import (
	"maps"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// supplies records which levels the plan makes the owner's stock reach. It needs to know how much is left, up to the
// number that counts as refilled, of every ciphersuite that something is taken from.
func (d *decision) supplies() error {
	before := d.plan.Owner.Supplies
	d.plan.Owner.Supplies = maps.Clone(before)
	if d.plan.Owner.Supplies == nil {
		d.plan.Owner.Supplies = make(map[string]keypackage.Supply)
	}
	for suite, touched := range d.watched() {
		count, endless, reserve := d.left(suite)
		switch {
		case endless:
			continue
		case d.stock.complete && !d.stock.truncated, count > keypackage.LowStock:
		case touched && !d.stock.complete && !d.plan.RequireOwner:
			return errMoreStock
		default:
			continue // over budget or past the scan limit: not known
		}
		key := keypackage.SuiteKey(suite)
		if supply, changed := before[key].Sink(count, reserve, d.now); changed {
			d.plan.Owner.Supplies[key] = supply
			d.plan.WriteOwner = true
		}
	}
	d.plan.Owner.Pending = len(d.plan.Owner.DueNotices()) > 0
	return nil
}

// noteStocked notes whether the owner has anything at all, so that her stock's end counts once, however often strangers ask
// for her afterwards.
func (d *decision) noteStocked() {
	stocked := d.plan.Owner.Stocked
	switch {
	case len(d.plan.Consumed)+len(d.plan.Reserves) > 0:
		stocked = true
	case d.stock.complete && !d.stock.truncated && len(d.valid) == 0:
		stocked = false
	}
	if stocked != d.plan.Owner.Stocked {
		d.plan.Owner.Stocked, d.plan.WriteOwner = stocked, true
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
	for _, handouts := range [][]Handout{d.plan.Consumed, d.plan.Reserves} {
		for _, h := range handouts {
			suites[h.Candidate.Suite] = true
		}
	}
	return suites
}

// left counts what stays of a ciphersuite as far as the stock was read. endless says that an addressable package is among
// it, which never runs out; reserve that all of it has been handed out as a reserve. One that was handed out so before the
// owner uploaded others says nothing about these.
func (d *decision) left(suite mls.Ciphersuite) (count int, endless, reserve bool) {
	exposed := 0
	for _, c := range d.valid {
		if c.Suite != suite {
			continue
		}
		count++
		endless = endless || c.Addressable
		if c.Use == keypackage.UseReserve {
			exposed++
		}
	}
	return count, endless, count > 0 && exposed == count
}
