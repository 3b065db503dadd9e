package trace

import (
	"fmt"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// overdue is how long after its time an open delivery may still be open, because the scheduled function runs once a minute.
const overdue = 2 * time.Minute

// tellDelivery tells of one delivery.
func tellDelivery(d store.DeliveryHistory, now time.Time) finding {
	tell := func(u urgency, text string) finding {
		return finding{u, string(d.State), subject(d.PackageID, d.Owner) + " " + text}
	}
	because, end := results(d), at(d.ExpiresAt)
	switch {
	case d.Unreadable:
		return finding{broken, "unreadable", "its delivery " + d.ID + " cannot be read, so nobody will end it: look at the document, " +
			"and remove it if its package is of no use any more"}
	case d.State == keypackage.StateDelivered:
		return tell(done, fmt.Sprintf("was delivered at %s, %v after the relay received the request: nothing to do; if the requester sees "+
			"nothing, look at her client", at(d.DeliveredAt), d.DeliveredAt.Sub(d.RequestedAt).Round(time.Millisecond)))
	case d.State == keypackage.StateExpired:
		return tellExpired(d, tell)
	case now.After(d.DueAt().Add(overdue)):
		return tell(broken, "should have expired at "+end+", but the scheduled function has not ended it: look at the logs (-logs) of ExpireDeliveries")
	case !now.Before(d.ExpiresAt):
		return tell(waits, "is not pushed any more since "+end+", and ends within two minutes: look again then")
	case d.Parked:
		return tell(broken, "is parked until its end at "+end+", because "+because.cause+": "+because.cure)
	case d.Tombstoned:
		return tell(ended, "was deleted by its owner, so it is not pushed and ends at "+end+": the requester has to ask anew")
	case d.Leased(now):
		return tell(waits, "is being pushed, until "+at(d.LeaseUntil)+" at the latest: look again then")
	case d.State == keypackage.StateSending:
		return tell(waits, "was pushed, and how that ended was never recorded, so the requester may have it; it is pushed again until "+end+
			": if this happens often, see in the logs (-logs) why DeliverKeyPackages breaks off")
	}
	urgency := waits
	if d.LastResult.Fails() || d.LastResult.Alert() {
		urgency = broken
	}
	return tell(urgency, "is pending, because "+because.cause+": "+because.cure+"; it is pushed again until "+end)
}

// tellExpired tells of a delivery that has expired.
func tellExpired(d store.DeliveryHistory, tell func(urgency, string) finding) finding {
	because, undelivered := results(d), "expired undelivered at "+at(d.FinishedAt)
	why, anew := ", because "+because.cause+": "+because.cure, "; the requester has to ask anew"
	switch d.Reason {
	case keypackage.ExpiredReturned:
		return tell(ended, undelivered+" and is back in stock"+why+anew)
	case keypackage.ExpiredReserve:
		return tell(ended, undelivered+" and stays in stock as the reserve"+why+anew)
	case keypackage.ExpiredParked:
		return tell(burned, undelivered+" and is burned"+why+anew)
	case keypackage.ExpiredTombstoned:
		return tell(ended, undelivered+", because its owner has deleted it"+anew)
	case keypackage.ExpiredPackageOver:
		return tell(ended, undelivered+", when its own time was over, too"+anew)
	}
	return tell(burned, undelivered+" and is burned, because a push ended without a clear answer and the requester may have it: "+
		"if this happens often, look at the relay's endpoint and at the logs (-logs)"+anew)
}

// result is what the last result of the pushes means.
type result struct{ cause, cure string }

var known = map[keypackage.PushResult]result{
	"": {"no push was begun", "look at the logs (-logs) of DeliverKeyPackages, at `operate deadletters`, and whether the mode is deliver"},
	keypackage.ResultNoSession: {
		"the requester had no authenticated session at the relay", "her client has to be connected and authenticated (NIP-42)"},
	keypackage.ResultNoSubscription: {
		"none of the requester's subscriptions took the event", "her client has to subscribe to KeyPackages of this owner"},
	keypackage.ResultRefused: {
		"the relay refused the call", "check RELAY_AUDIENCE and whom the relay admits (-logs: the answers are in DeliverKeyPackages' lines)"},
	keypackage.ResultMisplaced: {"the relay serves no delivery endpoint at that address", "correct RELAY_DELIVERY_URL, or the relay's paths and names"},
	keypackage.ResultTooLarge:  {"the push is too large for the relay", "it has to take bodies of 8 MiB, and so has a proxy in front of it"},
	keypackage.ResultNotSent:   {"the relay could not be reached", "check RELAY_DELIVERY_URL, and whether the relay runs"},
	keypackage.ResultUnexpected: {
		"the relay gave an answer that the endpoint's description does not know", "correct the relay, or what stands in front of it"},
	keypackage.ResultUnknown: {
		"the relay began to write to a session that did not take it", "the requester's client has to read what it is sent"},
	keypackage.ResultUnknownEvent: {"the relay does not know the event", "it has to keep what it stores, or to write `event` into its documents"},
	keypackage.ResultRejected:     {"the relay has refused the event for good", "look at the relay's logs"},
}

func results(d store.DeliveryHistory) result {
	if r, ok := known[d.LastResult]; ok {
		return r
	}
	return result{"the last push ended without a clear answer", "look at the relay's endpoint and at the logs (-logs)"}
}
