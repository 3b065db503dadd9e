// Package claiming is the use case of ClaimKeyPackages: it turns one stored 447 into recorded answers and pending
// deliveries.
//
// claimer.go is what can be asked for on behalf of a trigger, here.go where the requester's session is. answering.go
// answers one request, dismiss.go one that is rejected or only observed, and result.go says what became of it.
// combine.go gathers concurrent units of one owner, owner.go answers them in one transaction: read.go reads the stock,
// decide.go, req.go and select.go choose what the units get, handout.go turns that into deliveries, supply.go notes what
// is left, and settle.go finds out whether what was chosen is what it seems. attempts.go says how often something is
// tried, and store.go is the contract with the store.
package claiming

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

// Publisher asks for the delivery of what was claimed for a request. It returns once the message is safely kept.
type Publisher interface {
	PublishRequest(ctx context.Context, a keypackage.Announcement) error
}

// Settings of a Claimer.
type Settings struct {
	Limits
	Mode          rollout.Mode
	MaxPerOwner   int           // ceiling of `min`
	RequestMaxAge time.Duration // a request taken up later than this is stale
}

// Claimer takes up requests. It is safe for concurrent use.
type Claimer struct {
	store     Store
	publisher Publisher
	settings  Settings
	now       func() time.Time
	owners    *combiner
}

// New returns a Claimer. now is the clock.
func New(store Store, publisher Publisher, settings Settings, now func() time.Time) *Claimer {
	c := &Claimer{store: store, publisher: publisher, settings: settings, now: now}
	c.owners = newCombiner(c.answerOwner)
	return c
}

// gatewayFirst is how long, from the receipt, a gateway that claims by itself is left alone: a trigger that comes at the same moment
// would read all the same, and one of the two would lose the race. In the cloud triggers come later.
const gatewayFirst = 300 * time.Millisecond

// Claim takes up one request document for its trigger. It returns nil once every unit's answer is recorded and announced, or
// if there is nothing to do. A request that was answered before is read by id and left alone, unless something that it was
// granted has never been pushed: then its announcement may have been lost and is repeated. What a gateway has claimed it also
// tells, and only the scheduled function does so in its place. Its errors are retryable.
func (c *Claimer) Claim(ctx context.Context, doc keypackage.RequestDocument) (Result, error) {
	if doc.Gateway {
		if err := retry.Pause(ctx, min(gatewayFirst, gatewayFirst-c.now().Sub(doc.ReceivedAt))); err != nil {
			return Result{RequestID: doc.ID}, fault.Retryable("claim_failed", err)
		}
	}
	return c.serve(ctx, doc, func(a *answering, known keypackage.Answer) (keypackage.Answer, error) {
		if known.Complete() {
			unpushed, err := c.store.NeverPushed(ctx, known.Deliveries())
			if err != nil || !unpushed {
				return known, err
			}
			return known, a.finish(ctx, known)
		}
		answer, err := a.answer(ctx, known)
		if answer.Empty() {
			return answer, err
		}
		return answer, errors.Join(err, a.finish(ctx, answer))
	})
}

// Recover takes up one request document that still has no outcome, long after its trigger should have come. What was answered
// before is announced again, since nobody knows whether it was; and what still fails at its end is recorded as stale. Its
// errors are retryable.
func (c *Claimer) Recover(ctx context.Context, doc keypackage.RequestDocument) (Result, error) {
	return c.serve(ctx, doc, func(a *answering, answer keypackage.Answer) (_ keypackage.Answer, err error) {
		if !answer.Complete() {
			answer, err = a.answer(ctx, answer)
		}
		if err != nil && c.now().Sub(doc.ReceivedAt) > c.settings.RequestMaxAge {
			answer, err = a.end(ctx)
		}
		if answer.Empty() {
			return answer, err
		}
		return answer, errors.Join(err, a.announce(ctx, answer), a.note(ctx, answer))
	})
}

// serve reads what is recorded of a request and lets do answer what is not.
func (c *Claimer) serve(
	ctx context.Context, doc keypackage.RequestDocument, do func(*answering, keypackage.Answer) (keypackage.Answer, error),
) (Result, error) {
	result := Result{RequestID: doc.ID}
	a, reason, err := c.newAnswering(ctx, doc)
	if a == nil {
		result.Reason = reason
		return result, err
	}
	result.Unmarked = !doc.Marked
	known, err := a.recordedFirst(ctx)
	if err != nil {
		return result, err
	}
	answer, err := do(a, known)
	if !answer.Empty() {
		result.fill(answer)
		if result.Repeated = known.Complete(); !result.Repeated {
			result.Age = c.now().Sub(doc.ReceivedAt)
		}
	}
	return result, err
}

// finish announces what was claimed and notes the outcome, unless a gateway is about to tell it.
func (a *answering) finish(ctx context.Context, answer keypackage.Answer) error {
	if err := a.announce(ctx, answer); err != nil || slices.ContainsFunc(answer.Claims, byGateway) {
		return err
	}
	return a.note(ctx, answer)
}

func byGateway(c keypackage.Claim) bool { return c.Gateway }
