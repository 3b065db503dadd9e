package claiming

import (
	"slices"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// fillREQ decides a REQ. It is given the same again for a minute, whatever became of it; it writes nothing unless it is given
// something; and over the pair's limit it is still given the reserve, so that a client on a bad line, which subscribes again
// and again, can always go on.
func (d *decision) fillREQ(claim *keypackage.Claim, u Unit) error {
	if addressable := d.addressableFor(u.Request); u.Request.PreferAddressable && addressable != nil {
		d.require(addressable)
		claim.Status, claim.Reason = keypackage.StatusNone, keypackage.ReasonAddressable
		return nil
	}
	pair := d.pair(u.Request.Requester)
	if last := pair.LastREQ; last != nil && d.reachable(last.DeliveryID) {
		repeat(claim, last)
		return nil
	}
	overLimit := pair.Requests.Count(d.now) >= d.limits.PairLimitPerHour
	budget, required := d.budget(), d.plan.RequireOwner
	if overLimit {
		budget, d.cut = 0, true
	} else {
		d.join(claim, u.Request, pair)
	}
	if err := d.fromStock(claim, u, budget); err != nil {
		return err
	}
	if overLimit { // by the pair, not by the owner's budget
		d.plan.RequireOwner = required
		claim.Reason = keypackage.ReasonPairLimit
		claim.RetryAt = pair.Requests.RetryAt(d.now, d.limits.PairLimitPerHour)
	}
	if claim.Granted > 0 {
		granted := d.open[claim.DeliveryIDs[0]]
		pair.LastREQ = &keypackage.REQGrant{
			DeliveryID: granted.ID, Suite: granted.Suite, Reserve: granted.Reserve, At: d.now, ExpiresAt: granted.ExpiresAt,
		}
		if d.dirty[u.Request.Requester] = true; !overLimit {
			pair.Requests = pair.Requests.Add(d.now, 1)
		}
	}
	return nil
}

// reachable reports whether the delivery exists and its package was not deleted.
func (d *decision) reachable(deliveryID string) bool {
	open, ok := d.open[deliveryID]
	return ok && !open.Tombstoned
}

// repeat makes the answer that of the claim which granted the delivery.
func repeat(claim *keypackage.Claim, last *keypackage.REQGrant) {
	claim.RequestID, _, _ = strings.Cut(last.DeliveryID, "_")
	claim.DeliveryIDs, claim.Granted, claim.Reserve = []string{last.DeliveryID}, 1, last.Reserve
	claim.Status = keypackage.StatusFull
}

// joinREQ lets the first 447 after a REQ count what the REQ was given as its own, if it is of the ciphersuite asked for.
// What is delivered already is not written.
func (d *decision) joinREQ(claim *keypackage.Claim, req *keypackage.Request, pair *keypackage.Pair) {
	last := pair.LastREQ
	if last == nil || last.JoinedBy != "" {
		return
	}
	if slices.Contains(claim.DeliveryIDs, last.DeliveryID) || d.joinGranted(claim, req, last) {
		joined := *last
		joined.JoinedBy = claim.RequestID
		pair.LastREQ = &joined
	}
}

func (d *decision) joinGranted(claim *keypackage.Claim, req *keypackage.Request, last *keypackage.REQGrant) bool {
	suite, ok := mls.ParseCiphersuite(last.Suite)
	if claim.Granted == claim.Requested || !d.reachable(last.DeliveryID) || !ok || !req.Matches(suite) {
		return false
	}
	switch delivery := &d.open[last.DeliveryID].Delivery; {
	case claim.Reserve && delivery.Reserve: // at most one
		return false
	case delivery.Joinable(d.now):
		d.joinOne(claim, delivery)
	case delivery.State == keypackage.StateDelivered:
		d.plan.JoinedLate = append(d.plan.JoinedLate, delivery)
		claim.Grant(delivery)
	default:
		return false
	}
	return true
}
