package claiming

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Granted is what a claim made where the requester's session is brings to that session.
type Granted struct {
	// Claims are what is recorded of the request, or, of a REQ that was asked again, of the one that was given the same. They
	// may name deliveries that were there before.
	Claims []keypackage.Claim
	// Begun are the deliveries whose first push this claim has begun, for that holder: nobody else may make it.
	Begun  []keypackage.StoredDelivery
	Holder string
}

// ClaimHere takes up a request whose document the caller has just created, where the requester's session is. The caller
// pushes what was granted, tells the outcome, and calls Told; nothing is published. If it does not live to do so, the
// scheduled function does. With an error, what is recorded all the same is returned. Its errors are retryable.
func (c *Claimer) ClaimHere(ctx context.Context, doc keypackage.RequestDocument) (Granted, Result, error) {
	result := Result{RequestID: doc.ID}
	t, reason, err := c.newTaking(ctx, doc)
	if t == nil {
		result.Reason = reason
		return Granted{}, result, err
	}
	t.holder = rand.Text()
	claims, err := t.answer(ctx, nil)
	if len(claims) == 0 {
		return Granted{}, result, err
	}
	result.fill(claims)
	if result.Repeated = t.found && len(t.created) == 0; !result.Repeated {
		result.Age = c.now().Sub(doc.ReceivedAt)
	}
	return c.granted(ctx, t, claims), result, err
}

// ClaimForREQ claims one package of an owner for a REQ, without any document of a request: see keypackage.NewREQ. Asked again
// within a minute it grants the same and writes nothing. If it grants nothing, there are no claims. Nobody is told an outcome.
// Its errors are retryable.
func (c *Claimer) ClaimForREQ(ctx context.Context, requester, owner string, addressable bool) (Granted, Result, error) {
	if mode, err := c.settings.Mode.Now(ctx); err != nil || mode != keypackage.ModeDeliver || requester == owner {
		return Granted{}, Result{}, err
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	req := keypackage.NewREQ(hex.EncodeToString(id), requester, owner, addressable, c.settings.DeliveryTTL, c.now())
	t := &taking{Claimer: c, req: req, holder: rand.Text()}
	result := Result{RequestID: req.ID}
	claims, err := t.claim(ctx, nil)
	if err != nil {
		return Granted{}, result, err
	}
	result.fill(claims)
	result.Repeated = claims[0].RequestID != req.ID
	if claims[0].Granted == 0 {
		return Granted{}, result, nil
	}
	return c.granted(ctx, t, claims), result, nil
}

// granted finds out which pushes this claim has begun. Usually it created the deliveries itself; if its commit ended unclear
// it finds its answer recorded, and whether the deliveries name it as their holder. Where that cannot be read, the lease runs
// out, and they are pushed later.
func (c *Claimer) granted(ctx context.Context, t *taking, claims []keypackage.Claim) Granted {
	g := Granted{Claims: claims, Holder: t.holder}
	for _, d := range t.created {
		g.Begun = append(g.Begun, keypackage.StoredDelivery{Delivery: *d})
	}
	if !t.found {
		return g
	}
	var refs []keypackage.DeliveryRef
	for i := range claims {
		refs = append(refs, claims[i].Deliveries()...)
	}
	found, err := c.store.Deliveries(ctx, refs)
	if err != nil {
		return g
	}
	for _, f := range found {
		known := slices.ContainsFunc(t.created, func(d *keypackage.Delivery) bool { return d.ID == f.ID })
		if !known && f.HeldBy(t.holder, c.now()) {
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
