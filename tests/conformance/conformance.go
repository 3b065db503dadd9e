package main

import (
	"context"
	"errors"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// Target is the relay to be checked.
type Target struct {
	Relay    string // websocket URL
	Endpoint string // URL of the delivery endpoint

	Token         string // ID token of the endpoint's caller
	OtherAudience string // ID token of the same caller for another audience; "" leaves that check out
	OtherCaller   string // good ID token of somebody else; "" leaves that check out

	Documents   *firestore.Client // of the relay; nil leaves the checks of what it writes out
	Collections config.Collections

	Quiet time.Duration // how long nothing arrives before it is believed that nothing will: longer than a frame travels
	Slack time.Duration // what the network, or a busy machine, may add to the time that anything has to arrive
}

// Verdict is what came of a check.
type Verdict string

// The verdicts.
const (
	Pass       Verdict = "pass"
	Fail       Verdict = "FAIL"
	NotChecked Verdict = "not checked"
)

// Result is the verdict on one rule.
type Result struct {
	rule
	Verdict Verdict
	Detail  string // how it was broken, or why it was not checked
}

// rule is one promise and how to check it. The check ends the probe if it is broken.
type rule struct {
	name    string
	promise string
	check   func(*probe)
}

var rules = []rule{
	{"stored-443", "a stored 443 is served to sessions authenticated as its author, and to nobody else, nor counted or synchronised", stored443},
	{"new-443", "a new 443 is broadcast to sessions authenticated as its author, and to nobody else", new443},
	{"token", "the endpoint answers 401 to a token that is missing or wrong", wrongTokens},
	{"caller", "the endpoint answers 403 to a good token of somebody else", otherCaller},
	{"method", "the endpoint answers 405 to other methods than POST", otherMethods},
	{"malformed", "the endpoint answers 400 to what is not a DeliveryRequest", malformedBodies},
	{"size", "the endpoint takes 8 MiB, and answers 200 or 413 to more", largeBodies},
	{"direct-answer", "a push is answered 200, without a redirect, with one result for each delivery", directAnswer},
	{"requester-only", "a delivery is sent to sessions authenticated as the requester, and to nobody else", requesterOnly},
	{"once", "a session is sent a delivery once, also on two matching subscriptions and when it is pushed again", once},
	{"verbatim", "the event string is the third element of the frame, byte for byte", verbatim},
	{"limit", "the limit of a filter is ignored", limitIgnored},
	{"since-until", "since and until of a filter are respected", sinceAndUntil},
	{"no-session", "no_session is the answer when nobody is authenticated as the requester, and the next push may be delivered", noSession},
	{"no-subscription", "no_subscription is the answer when no open subscription matches", noSubscription},
	{"unknown-event", "unknown_event is the answer when neither the push nor the relay has the event", unknownEvent},
	{"rejected", "rejected is the answer to an event that does not verify, or is not the one named", rejected},
	{"stored-447", "a 447 is served to nobody", stored447},
	{"stored-30443", "a 30443 is served to everybody", addressable},
	// Whether a push of it is refused is not checked: whoever pushes has read its tombstone.
	{"deleted", "a KeyPackage that its owner has deleted (kind 5), however soon, is gone and does not come back", deleted},
	{"expired", "a delivery that is not begun at expires_at is dropped", expired},
	{"five-seconds", "a push is answered within 5 s while a session does not read, and what is denied then never arrives", stuckSession},
	{"outcome", "an outcome is told once: an ephemeral event with an e tag that names the request", outcomeOnce},
	// Whether a push of one is refused is not checked: whoever pushes has verified the request.
	{"outcome-forged", "no outcome is told of a request whose signature is wrong", outcomeOfForgery},
	{"announced", "the NIP-11 document names the key and kinds of outcomes and notices, and a stranger's event of these kinds is refused", announced},
	{"auth-required", "auth-required: is the answer to a REQ for nothing but 443, 20447 or 20448, and to a 447, of who has not authenticated", authRequired},
	{"several-keys", "all keys that authenticate on a connection are served", severalKeys},
	{"order", "what a client sends without waiting is dealt with in its order: REQ a, CLOSE a, REQ b, 447 brings the KeyPackage on b", pipelined},
	{"answered", "a message whose id can be read is answered by OK or CLOSED, whatever else is wrong with it", answered},
	{"req", "a REQ for an owner's KeyPackages brings one before EOSE, if the NIP-11 document says so", reqIsARequest},
	{"documents", "KeyPackages and their deletions become documents: created_at is an integer, a tombstone is named after id and author", documents},
	{"open", "a request's document has the mark by which it is found if its trigger is lost", openMark},
	{"nudge", "a nudge is published when a requester opens a matching subscription", func(p *probe) {
		p.skip("it goes to the delivery topic: see its message count, or the demo's second act")
	}},
}

// Run checks one rule after another and tells each result, also of those that cannot be kept because another is broken. The
// error is not nil if nothing answers at the relay's URL, and then no rule was checked.
func Run(ctx context.Context, target Target, tell func(Result)) error {
	if err := target.try(ctx, func(p *probe) { p.visit() }); err != nil {
		return actors.ExplainUnreachable(err)
	}
	for _, r := range rules {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		tell(r.judge(ctx, target))
	}
	return nil
}

func (r rule) judge(ctx context.Context, target Target) Result {
	err := target.try(ctx, r.check)
	switch {
	case err == nil:
		return Result{r, Pass, ""}
	case errors.Is(err, errNotChecked):
		return Result{r, NotChecked, err.Error()}
	}
	return Result{r, Fail, err.Error()}
}
