package claiming

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Granted is what one unit brings to the requester's session.
type Granted struct {
	// Claim is what is recorded of the unit, or, of a REQ that was asked again, of the one that was given the same. It may name
	// deliveries that were there before.
	Claim keypackage.Claim
	// Begun are the deliveries whose first push this claim has begun, for that holder: nobody else may make it.
	Begun  []keypackage.StoredDelivery
	Holder string
}

// ClaimHere takes up a request whose document the caller has just created, where the requester's session is. Each unit is given
// to the caller as soon as it is claimed, while others may still be decided, because the leases of its pushes are short; give is
// called concurrently, and not for what is answered as a whole. When all is given, the caller tells the outcome and calls Told;
// nothing is published. If it does not live to do so, the scheduled function does. It returns what is recorded, with an error,
// too. Its errors are retryable.
func (c *Claimer) ClaimHere(
	ctx context.Context, doc keypackage.RequestDocument, give func(Granted),
) ([]keypackage.Claim, Result, error) {
	result := Result{RequestID: doc.ID}
	t, reason, err := c.newTaking(ctx, doc)
	if t == nil {
		result.Reason = reason
		return nil, result, err
	}
	t.here(ctx, give)
	claims, err := t.answer(ctx, nil)
	if len(claims) == 0 {
		return nil, result, err
	}
	result.fill(claims)
	if result.Repeated = t.found && !t.created; !result.Repeated {
		result.Age = c.now().Sub(doc.ReceivedAt)
	}
	return claims, result, err
}

// ClaimForREQ claims one package of an owner for a REQ, without any document of a request: see keypackage.NewREQ. Asked again
// within a minute it grants the same and writes nothing. If it grants nothing, the claim is empty. Nobody is told an outcome.
// Its errors are retryable.
func (c *Claimer) ClaimForREQ(ctx context.Context, requester, owner string, addressable bool) (Granted, Result, error) {
	if mode, err := c.settings.Mode.Now(ctx); err != nil || mode != keypackage.ModeDeliver || requester == owner {
		return Granted{}, Result{}, err
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	req := keypackage.NewREQ(hex.EncodeToString(id), requester, owner, addressable, c.settings.DeliveryTTL, c.now())
	t, result := &taking{Claimer: c, req: req}, Result{RequestID: req.ID}
	var granted Granted
	t.here(ctx, func(g Granted) { granted = g })
	claims, err := t.claim(ctx, nil)
	if err != nil {
		return Granted{}, result, err
	}
	result.fill(claims)
	result.Repeated = claims[0].RequestID != req.ID
	if claims[0].Granted == 0 {
		return Granted{}, result, nil
	}
	return granted, result, nil
}

// here makes the first pushes of what is created begin with the claims, and gives it to whoever makes them.
func (t *taking) here(ctx context.Context, give func(Granted)) {
	t.holder = rand.Text()
	t.give = func(a *answer) { give(t.granted(ctx, a)) }
}

// granted finds out which pushes a unit's claim has begun. Usually it created the deliveries itself; if its commit ended unclear
// it finds its answer recorded, and whether the deliveries name it as their holder. Where that cannot be read, the lease runs
// out, and they are pushed later.
func (t *taking) granted(ctx context.Context, a *answer) Granted {
	g := Granted{Claim: a.claim, Holder: t.holder}
	for _, d := range a.created {
		g.Begun = append(g.Begun, keypackage.StoredDelivery{Delivery: *d})
	}
	if !a.found {
		return g
	}
	found, err := t.store.Deliveries(ctx, a.claim.Deliveries())
	if err != nil {
		return g
	}
	for _, f := range found {
		if f.HeldBy(t.holder, t.now()) {
			g.Begun = append(g.Begun, f)
		}
	}
	return g
}

// Told notes that the outcome of a request that was claimed here has been told: it is copied to the request's document, which
// is then no longer looked for. Its errors are retryable.
func (c *Claimer) Told(ctx context.Context, doc keypackage.RequestDocument, claims []keypackage.Claim) error {
	t := &taking{Claimer: c, doc: doc}
	return t.note(ctx, claims)
}
