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
	// Answer is what is recorded of the request, or, of a REQ that was asked again, of the one that was given the same. It may
	// name deliveries that were there before.
	Answer keypackage.Answer
	// Begun are the deliveries whose first push this claim has begun, for that holder: nobody else may make it.
	Begun  []keypackage.StoredDelivery
	Holder string
}

// ClaimHere takes up a request whose document the caller has just created, where the requester's session is. The caller
// pushes what was granted, tells the outcome, and calls Told; nothing is published. If it does not live to do so, the
// scheduled function does. With an error, what is recorded all the same is returned. Its errors are retryable.
func (c *Claimer) ClaimHere(ctx context.Context, doc keypackage.RequestDocument) (Granted, Result, error) {
	result := Result{RequestID: doc.ID}
	a, reason, err := c.newAnswering(ctx, doc)
	if a == nil {
		result.Reason = reason
		return Granted{}, result, err
	}
	a.holder = rand.Text()
	answer, err := a.answer(ctx, keypackage.Answer{})
	if answer.Empty() {
		return Granted{}, result, err
	}
	result.fill(answer)
	if result.Repeated = a.found && len(a.created) == 0; !result.Repeated {
		result.Age = c.now().Sub(doc.ReceivedAt)
	}
	return a.granted(ctx, answer), result, err
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
	a := &answering{Claimer: c, req: req, holder: rand.Text()}
	result := Result{RequestID: req.ID}
	answer, err := a.claim(ctx, keypackage.Answer{})
	if err != nil {
		return Granted{}, result, err
	}
	result.fill(answer)
	result.Repeated = answer.RequestID() != req.ID
	if answer.Granted() == 0 {
		return Granted{}, result, nil
	}
	return a.granted(ctx, answer), result, nil
}

// granted finds out which pushes this claim has begun. Usually it created the deliveries itself; if its commit ended unclear
// it finds its claims recorded, and whether the deliveries name it as their holder. Where that cannot be read, the lease runs
// out, and they are pushed later.
func (a *answering) granted(ctx context.Context, answer keypackage.Answer) Granted {
	g := Granted{Answer: answer, Holder: a.holder}
	for _, d := range a.created {
		g.Begun = append(g.Begun, keypackage.StoredDelivery{Delivery: *d})
	}
	if !a.found {
		return g
	}
	found, err := a.store.Deliveries(ctx, answer.Deliveries())
	if err != nil {
		return g
	}
	for _, f := range found {
		known := slices.ContainsFunc(a.created, func(d *keypackage.Delivery) bool { return d.ID == f.ID })
		if !known && f.HeldBy(a.holder, a.now()) {
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
