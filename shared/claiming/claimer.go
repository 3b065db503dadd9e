// Package claiming is the use case of ClaimKeyPackages: it turns one stored 447 into recorded answers and pending deliveries.
//
// claimer.go is what can be asked for, on behalf of a trigger or where the requester's session is. answering.go answers one request
// and says what became of it. combine.go gathers concurrent units of one owner, owner.go answers them in one transaction: read.go
// reads the stock and finds out whether it is what it seems, decide.go, req.go and select.go choose what the units get, and supply.go
// notes what is left. store.go is the contract with the store.
package claiming

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
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

// Claimer takes up requests. It is safe for concurrent use, and its errors are retryable.
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

// Claim takes up one request document for its trigger. It returns nil once every unit's answer is recorded and announced, or if
// there is nothing to do. A request that was answered before is read by id and left alone, unless something that it was granted has
// never been pushed: then its announcement may have been lost and is repeated. What a gateway has claimed it also tells, and only
// the scheduled function does so in its place.
func (c *Claimer) Claim(ctx context.Context, doc keypackage.RequestDocument) (Result, error) {
	if doc.Gateway {
		if err := retry.Pause(ctx, min(gatewayFirst, gatewayFirst-c.now().Sub(doc.ReceivedAt))); err != nil {
			return Result{RequestID: doc.ID}, fault.Retryable("claim_failed", err)
		}
	}
	return c.serve(ctx, doc, func(a *answering, answer keypackage.Answer) (_ keypackage.Answer, err error) {
		if !answer.Complete() {
			answer, err = a.answer(ctx, answer)
		} else if unpushed, err := c.store.NeverPushed(ctx, answer.Deliveries()); err != nil || !unpushed {
			return answer, err
		}
		return answer, errors.Join(err, a.finish(ctx, answer))
	})
}

// Recover takes up one request document that still has no outcome, long after its trigger should have come. What was answered before
// is announced again, since nobody knows whether it was; and what still fails at its end is recorded as stale.
func (c *Claimer) Recover(ctx context.Context, doc keypackage.RequestDocument) (Result, error) {
	return c.serve(ctx, doc, func(a *answering, answer keypackage.Answer) (_ keypackage.Answer, err error) {
		if !answer.Complete() {
			answer, err = a.answer(ctx, answer)
		}
		if err != nil && c.now().Sub(doc.ReceivedAt) > c.settings.RequestMaxAge {
			answer, err = a.end(ctx)
		}
		return answer, errors.Join(err, a.announce(ctx, answer), a.note(ctx, answer))
	})
}

// serve reads what is recorded of a request and lets do answer what is not. A request that would be claimed as it stands now was
// hardly dismissed before; if it was, its claim loses against the dismissal.
func (c *Claimer) serve(
	ctx context.Context, doc keypackage.RequestDocument, do func(*answering, keypackage.Answer) (keypackage.Answer, error),
) (Result, error) {
	a, result, err := c.newAnswering(ctx, doc)
	if a == nil {
		return result, err
	}
	result.Unmarked = !doc.Marked
	known, err := a.recorded(ctx, !a.claimable())
	if err != nil {
		return result, err
	}
	answer, err := do(a, known)
	result.fill(answer, known.Complete(), c.now().Sub(doc.ReceivedAt))
	return result, err
}

// Result says what became of a request, for the log. Outcome is "" if the request was left alone.
type Result struct {
	RequestID string
	Outcome   keypackage.Outcome
	Reason    string
	Repeated  bool // every answer had been recorded before, by whoever has counted them

	Granted    int
	Owners     int           // without those of OutOfStock
	Reserves   int           // owners who gave their reserve: their stock is used up
	Empty      int           // owners whose stock was found to have come to its end
	OutOfStock int           // owners who had nothing when last asked for either, see keypackage.Claim
	Age        time.Duration // from the relay's receipt to the answer
	Unmarked   bool          // the relay does not write the mark, or the time of receipt, by which a request is found whose trigger is lost
}

// ReasonOutOfStock is the Result's reason of a request for nobody but owners out of stock. Any stranger can ask for such: it says
// nothing about the service.
const ReasonOutOfStock = "out_of_stock"

// Label is the outcome as a word for the log.
func (r Result) Label() string { return cmp.Or(string(r.Outcome), "ignored") }

// fill sums the answer up, if there is one. age is told of what is not repeated.
func (r *Result) fill(answer keypackage.Answer, repeated bool, age time.Duration) {
	if answer.Empty() {
		return
	}
	if r.Outcome, r.Repeated = answer.Outcome(), repeated; !repeated {
		r.Age = age
	}
	if d := answer.Dismissal; d != nil {
		r.Reason = d.Reason
	}
	for _, claim := range answer.Claims {
		r.Reason = cmp.Or(r.Reason, claim.Reason)
		r.Granted += claim.Granted
		if claim.Reserve {
			r.Reserves++
		}
		if claim.OutOfStock {
			r.OutOfStock++
			continue
		}
		r.Owners++
		if claim.Status == keypackage.StatusNone && claim.Reason != keypackage.ReasonStale {
			r.Empty++
		}
	}
	if r.OutOfStock > 0 && r.Owners == 0 {
		r.Reason = ReasonOutOfStock
	}
}

// Describe adds what became of the request to a log line.
func (r Result) Describe(line *logging.Line) {
	line.Set("request_event_id", r.RequestID)
	if r.Reason != "" {
		line.Set("request_reason", r.Reason)
	}
	if r.Repeated {
		line.Set("repeated", "true")
	}
	line.Count("owners", r.Owners)
	line.Count("out_of_stock", r.OutOfStock)
	line.Count("granted", r.Granted)
	line.Count("reserves", r.Reserves)
	line.Count("empty", r.Empty)
	if r.Unmarked {
		line.Count("unmarked", 1)
	}
	if r.Age > 0 {
		line.Measure("receipt_to_answer", r.Age)
	}
}

// Granted is what a claim made where the requester's session is brings to that session, of one owner.
type Granted struct {
	// Answer holds the claim that is recorded of the unit, or, of a REQ that was asked again, the one that was given the same. It
	// may name deliveries that were there before.
	Answer keypackage.Answer
	// Begun are the deliveries whose first push this claim has begun, for that holder: nobody else may make it.
	Begun  []keypackage.StoredDelivery
	Holder string
}

// ClaimHere takes up a request where the requester's session is. The caller may still be creating its document: stored returns, soon,
// once that is known to be there, or with the error that it is not. Nothing is written before, and nothing at all if it fails. Each
// unit is given to the caller as soon as it is claimed, while others may still be decided, because the leases of its pushes are
// short; give is called concurrently, and not for what is dismissed. When all is given, the caller tells the outcome and calls Told;
// nothing is published. If it does not live to do so, the scheduled function does. It returns what is recorded, with an error, too.
func (c *Claimer) ClaimHere(
	ctx context.Context, doc keypackage.RequestDocument, stored func() error, give func(Granted),
) (keypackage.Answer, Result, error) {
	a, result, err := c.newAnswering(ctx, doc)
	if a == nil {
		return keypackage.Answer{}, result, err
	}
	a.here(ctx, give)
	a.stored = stored
	answer, err := a.answer(ctx, keypackage.Answer{})
	result.fill(answer, a.found && !a.created, c.now().Sub(doc.ReceivedAt))
	return answer, result, err
}

// ClaimForREQ claims one package of an owner for a REQ, without any document of a request: see keypackage.NewREQ. Asked again within
// a minute it grants the same and writes nothing. If it grants nothing, there is no answer. Nobody is told an outcome.
func (c *Claimer) ClaimForREQ(ctx context.Context, requester, owner string, addressable bool) (Granted, Result, error) {
	if mode, err := c.settings.Mode.Now(ctx); err != nil || mode != keypackage.ModeDeliver || requester == owner {
		return Granted{}, Result{}, err
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	req := keypackage.NewREQ(hex.EncodeToString(id), requester, owner, addressable, c.settings.DeliveryTTL, c.now())
	a, result := &answering{Claimer: c, req: req}, Result{RequestID: req.ID}
	var granted Granted
	a.here(ctx, func(g Granted) { granted = g })
	answer, err := a.claim(ctx, keypackage.Answer{})
	if err != nil {
		return Granted{}, result, err
	}
	if result.fill(answer, answer.RequestID() != req.ID, 0); answer.Granted() == 0 {
		return Granted{}, result, nil
	}
	return granted, result, nil
}

// Told notes that the outcome of a request that was claimed here has been told: it is copied to the request's document, which is then
// no longer looked for.
func (c *Claimer) Told(ctx context.Context, doc keypackage.RequestDocument, answer keypackage.Answer) error {
	return (&answering{Claimer: c, doc: doc}).note(ctx, answer)
}
