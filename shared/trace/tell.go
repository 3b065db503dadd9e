package trace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Tell says in a sentence what became of a request, and what to do: of several findings about that which most needs somebody to look.
func Tell(h store.History, now time.Time) string {
	if whole := tellWhole(h, now); whole != "" {
		return whole
	}
	var all []finding
	for _, c := range h.Answer.Claims {
		all = append(all, findingsOf(c, h)...)
	}
	if n := h.Answer.Missing(); n > 0 {
		all = append(all, finding{waits, "unclaimed", fmt.Sprintf("%d of its owners have no claim yet: the scheduled function goes on with them "+
			"within two minutes, and if it does not, look at its logs (-logs)", n)})
	}
	for _, d := range h.Deliveries {
		all = append(all, tellDelivery(d, now))
	}
	if len(all) == 0 {
		return "Its claims grant KeyPackages and name no delivery of them, which is never written: somebody else has changed the documents."
	}
	worst := slices.MaxFunc(all, func(a, b finding) int { return cmp.Compare(a.urgency, b.urgency) })
	if len(all) == 1 {
		return worst.text + "."
	}
	return fmt.Sprintf("Of %d findings, %s; %s.", len(all), count(all), worst.text)
}

// finding is how far one owner's claim without packages is, or one delivery.
type finding struct {
	urgency urgency
	state   string
	text    string
}

// urgency is how much a finding needs somebody to look.
type urgency int

const (
	done urgency = iota
	ended
	empty
	waits
	burned
	broken
)

func count(all []finding) string {
	states := make(map[string]int)
	for _, a := range all {
		states[a.state]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], state))
	}
	return strings.Join(parts, ", ")
}

// tellWhole tells of a request of which there is neither a claim nor a delivery, otherwise nothing.
func tellWhole(h store.History, now time.Time) string {
	switch r := h.Request; {
	case h.Answer.Dismissal != nil:
		return tellDismissal(h.Answer.Dismissal)
	case len(h.Answer.Claims)+len(h.Deliveries) > 0:
		return ""
	case r == nil:
		return "Nothing is stored about this request: the relay has never stored it, or it is no longer kept; check the id, the project " +
			"and its collections, and whether the relay writes a document for each 447."
	case r.HasKind && r.Kind != keypackage.KindRequest:
		return fmt.Sprintf("The document holds an event of kind %d, which is no request and is left alone: check the id.", r.Kind)
	case r.Outcome != "":
		return fmt.Sprintf("It ended as %s, and its claims are no longer kept: nothing more is known here.", r.Outcome)
	case now.Sub(r.ReceivedAt) < claimedWithin:
		return "It has no claim yet, which takes a second as a rule, and up to two minutes if its trigger was lost: look again then."
	case r.Open:
		return "It has no claim, though it was received at " + at(r.ReceivedAt) + " and the scheduled function should have taken it up: look at " +
			"the logs (-logs) of ClaimKeyPackages and ExpireDeliveries, and whether the mode is off."
	}
	return "It has no claim and no mark (`open`) by which the scheduled function would find it: it came while the mode was off, or the relay " +
		"does not write the mark and the trigger was lost; the requester has to ask anew."
}

// claimedWithin is when a request has a claim, even if its trigger was lost: marks are looked for when they are 30 s old, once a minute.
const claimedWithin = 2 * time.Minute

func tellDismissal(d *keypackage.Dismissal) string {
	if d.Outcome == keypackage.OutcomeObserved {
		return "It came while the mode was observe, which is final for it: its document says what would have been claimed (`observed`), and the " +
			"requester has to ask anew once the mode is deliver."
	}
	return fmt.Sprintf("It was rejected (%s): %s.", d.Reason, cureOf(keypackage.Rejection(d.Reason)))
}

func cureOf(r keypackage.Rejection) string {
	switch r {
	case keypackage.RejectMalformedDocument, keypackage.RejectDocumentID, keypackage.RejectWrongKind:
		return "the relay has to write the event as it was published into a document of kind 447 that is named after it"
	case keypackage.RejectStale:
		return "it was taken up too late to be of use; see in the logs (-logs) why, and the requester has to ask anew"
	case keypackage.RejectFuture:
		return "the clock of the requester's device is wrong, or the relay's; she has to ask anew"
	case keypackage.RejectExpired:
		return "its ttl was over when it was taken up; the requester has to ask anew"
	case keypackage.RejectNoOwner, keypackage.RejectMalformedOwner, keypackage.RejectTooManyOwners, keypackage.RejectSelf:
		return "the requester's client has to correct the `p` tags, which name the owners"
	}
	return "the requester's client has to publish an event whose id and signature verify"
}

// findingsOf tells of what a claim has no delivery for.
func findingsOf(c keypackage.Claim, h store.History) []finding {
	if c.Granted == 0 {
		return []finding{tellEmpty(c)}
	}
	var gone []finding
	for _, id := range c.DeliveryIDs {
		if !slices.ContainsFunc(h.Deliveries, func(d store.DeliveryHistory) bool { return d.ID == id }) {
			gone = append(gone, finding{ended, "no longer kept", subject(keypackage.PackageOf(id), c.Owner) +
				" was set aside, and its delivery is no longer kept, which is so a week after its end: nothing more is known here"})
		}
	}
	return gone
}

// tellEmpty tells of a claim that granted nothing.
func tellEmpty(c keypackage.Claim) finding {
	owner, retry := "Owner "+short(c.Owner), ""
	if !c.RetryAt.IsZero() {
		retry = " after " + at(c.RetryAt)
	}
	stock := " (`operate stock -owner " + c.Owner + "` shows what there is)"
	tell := func(text string) finding { return finding{empty, string(c.Status), owner + text} }
	switch {
	case c.Status == keypackage.StatusLimited && c.Reason == keypackage.ReasonBudget:
		return tell(" has no reserve, and too many of her KeyPackages were handed out within an hour: the requester may ask again" + retry +
			", and if so many ask in earnest, raise OWNER_BUDGET_PER_HOUR")
	case c.Status == keypackage.StatusLimited:
		return tell(" was asked too often by this requester: she may ask again" + retry + ", and PAIR_LIMIT_PER_HOUR is the limit")
	case c.Reason == keypackage.ReasonScanLimit:
		return tell(" has more documents in stock than a claim reads, and none of those read would do: she has to delete what is of no use" + stock)
	case c.Status == keypackage.StatusNoMatch:
		return tell(" has valid KeyPackages, but none of the ciphersuite asked for: she has to publish some, or the requester asks without `cs`" + stock)
	case c.Reason == keypackage.ReasonUnusable:
		return tell(" has KeyPackages in stock, and none of them is valid: her client has to publish correct ones" + stock)
	case c.Reason == keypackage.ReasonStale:
		return tell(" was not taken up before the request was over: see in the logs (-logs) why, and the requester has to ask anew")
	}
	return tell(" has no valid KeyPackage in stock: her client has to publish some" + stock)
}

func subject(packageID, owner string) string {
	return "KeyPackage " + short(packageID) + " of owner " + short(owner)
}

// short is enough of an id to find it again in what is printed below.
func short(id string) string { return id[:min(8, len(id))] }

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }

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
	unclear := result{"the last push ended without a clear answer", "look at the relay's endpoint and at the logs (-logs)"}
	return cmp.Or(known[d.LastResult], unclear)
}
