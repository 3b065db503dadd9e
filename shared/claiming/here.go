package claiming

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

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
// once that is known to be there, or with the error that it is not. Nothing is written before, and nothing at all if it fails. Each unit is given to the caller as soon as it is claimed, while others
// may still be decided, because the leases of its pushes are short; give is called concurrently, and not for what is dismissed.
// When all is given, the caller tells the outcome and calls Told; nothing is published. If it does not live to do so, the scheduled
// function does. It returns what is recorded, with an error, too. Its errors are retryable.
func (c *Claimer) ClaimHere(
	ctx context.Context, doc keypackage.RequestDocument, stored func() error, give func(Granted),
) (keypackage.Answer, Result, error) {
	result := Result{RequestID: doc.ID}
	a, reason, err := c.newAnswering(ctx, doc)
	if a == nil {
		result.Reason = reason
		return keypackage.Answer{}, result, err
	}
	a.here(ctx, give)
	if a.stored = stored; !a.claimable() {
		if err := stored(); err != nil {
			return keypackage.Answer{}, result, err
		}
	}
	answer, err := a.answer(ctx, keypackage.Answer{})
	if answer.Empty() {
		return answer, result, err
	}
	result.fill(answer)
	if result.Repeated = a.found && !a.created; !result.Repeated {
		result.Age = c.now().Sub(doc.ReceivedAt)
	}
	return answer, result, err
}

// ClaimForREQ claims one package of an owner for a REQ, without any document of a request: see keypackage.NewREQ. Asked again
// within a minute it grants the same and writes nothing. If it grants nothing, there is no answer. Nobody is told an outcome.
// Its errors are retryable.
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
	result.fill(answer)
	result.Repeated = answer.RequestID() != req.ID
	if answer.Granted() == 0 {
		return Granted{}, result, nil
	}
	return granted, result, nil
}

// here makes the first pushes of what is created begin with the claims, and gives it to whoever makes them.
func (a *answering) here(ctx context.Context, give func(Granted)) {
	a.holder = rand.Text()
	a.give = func(u *unitAnswer) { give(a.granted(ctx, u)) }
}

// granted finds out which pushes a unit's claim has begun. Usually it created the deliveries itself; if its commit ended unclear
// it finds its claim recorded, and whether the deliveries name it as their holder. Where that cannot be read, the lease runs
// out, and they are pushed later.
func (a *answering) granted(ctx context.Context, u *unitAnswer) Granted {
	g := Granted{Answer: keypackage.Answer{Claims: []keypackage.Claim{u.claim}}, Holder: a.holder}
	for _, d := range u.created {
		g.Begun = append(g.Begun, keypackage.StoredDelivery{Delivery: *d})
	}
	if !u.found {
		return g
	}
	found, err := a.store.Deliveries(ctx, g.Answer.Deliveries())
	if err != nil {
		return g
	}
	for _, f := range found {
		if f.HeldBy(a.holder, a.now()) {
			g.Begun = append(g.Begun, f)
		}
	}
	return g
}

// Told notes that the outcome of a request that was claimed here has been told: it is copied to the request's document, which
// is then no longer looked for. Its errors are retryable.
func (c *Claimer) Told(ctx context.Context, doc keypackage.RequestDocument, answer keypackage.Answer) error {
	a := &answering{Claimer: c, doc: doc}
	return a.note(ctx, answer)
}
