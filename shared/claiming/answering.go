package claiming

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ownersAtOnce is how many owners of one request are read at the same time: with MaxStockBytes it bounds the memory that one
// request can take.
const ownersAtOnce = 8

// answering is one request that is being answered.
type answering struct {
	*Claimer
	mode    keypackage.Mode
	doc     keypackage.RequestDocument
	req     *keypackage.Request // nil if not even its signature is known
	parsed  error               // why it is rejected, whatever the time
	holder  string              // see Unit
	stored  func() error        // see Unit
	give    func(*unitAnswer)   // is called with what each unit is given, as soon as that is known; nil: nobody waits for it
	created bool                // a claim was not recorded already
	found   bool                // one was
}

// newAnswering parses a request document. It returns nil, and why, if there is nothing to do.
func (c *Claimer) newAnswering(ctx context.Context, doc keypackage.RequestDocument) (*answering, Result, error) {
	mode, err := c.settings.Mode.Now(ctx)
	if err != nil || mode == keypackage.ModeOff {
		return nil, Result{RequestID: doc.ID, Reason: "mode_off"}, err
	}
	req, err := keypackage.ParseRequest(doc, c.settings.MaxPerOwner)
	if errors.Is(err, keypackage.ErrOtherKind) {
		return nil, Result{RequestID: doc.ID, Reason: "other_kind"}, nil
	}
	return &answering{Claimer: c, mode: mode, doc: doc, req: req, parsed: err}, Result{RequestID: doc.ID}, nil
}

// here makes the first pushes of what is created begin with the claims, and gives it to whoever makes them.
func (a *answering) here(ctx context.Context, give func(Granted)) {
	a.holder = rand.Text()
	a.give = func(u *unitAnswer) { give(a.granted(ctx, u)) }
}

// granted finds out which pushes a unit's claim has begun. Usually it created the deliveries itself; if its commit ended unclear it
// finds its claim recorded, and whether the deliveries name it as their holder. Where that cannot be read, the lease runs out, and
// they are pushed later.
func (a *answering) granted(ctx context.Context, u *unitAnswer) Granted {
	g := Granted{Answer: keypackage.Answer{Claims: []keypackage.Claim{u.claim}}, Holder: a.holder}
	for _, d := range u.created {
		g.Begun = append(g.Begun, keypackage.StoredDelivery{Delivery: *d})
	}
	if u.found {
		found, _ := a.store.Deliveries(ctx, g.Answer.Deliveries())
		g.Begun = slices.DeleteFunc(found, func(d keypackage.StoredDelivery) bool { return !d.HeldBy(a.holder, a.now()) })
	}
	return g
}

// unitIDs names the claims of the request's units.
func (a *answering) unitIDs() (ids []string) {
	if a.req != nil {
		for _, owner := range a.req.Owners {
			ids = append(ids, keypackage.ClaimID(a.req.ID, owner))
		}
	}
	return ids
}

// recorded reads what is recorded of the request: its claims, and with dismissed also whether it was dismissed.
func (a *answering) recorded(ctx context.Context, dismissed bool) (known keypackage.Answer, err error) {
	ids := a.unitIDs()
	if dismissed {
		ids = append(ids, keypackage.DismissalID(a.doc.ID))
	}
	err = retryTransient(ctx, func() error {
		answers, err := a.store.Answers(ctx, ids)
		known = answers[a.doc.ID]
		return err
	})
	return known, err
}

// claimable reports whether the request is one to be claimed, as far as that is known without a look at what is recorded.
func (a *answering) claimable() bool {
	return a.parsed == nil && a.mode == keypackage.ModeDeliver && a.req.Untimely(a.now(), a.settings.RequestMaxAge) == ""
}

// answer returns the recorded answer to the request, deciding what was not decided before. With an error it returns what stands all
// the same.
func (a *answering) answer(ctx context.Context, known keypackage.Answer) (keypackage.Answer, error) {
	rejection, rejected := errors.AsType[keypackage.Rejection](a.parsed)
	if !rejected && known.Empty() { // otherwise it was taken up in time
		rejection = a.req.Untimely(a.now(), a.settings.RequestMaxAge)
	}
	switch {
	case rejection != "":
		return a.dismiss(ctx, a.dismissal(keypackage.OutcomeRejected, string(rejection)))
	case a.mode == keypackage.ModeObserve && known.Empty():
		return a.observe(ctx)
	}
	return a.claim(ctx, known)
}

// claim answers the units that are not known to be answered. Each owner's unit stands for itself: one that fails does not undo the
// others.
func (a *answering) claim(ctx context.Context, known keypackage.Answer) (keypackage.Answer, error) {
	answers := make([]*unitAnswer, len(a.req.Owners))
	reads := newAllowance()
	var group errgroup.Group
	group.SetLimit(ownersAtOnce)
	for i, owner := range a.req.Owners {
		if _, answered := known.Claim(owner); answered {
			continue
		}
		group.Go(func() (err error) {
			answers[i], err = a.owners.answer(ctx, Unit{Request: a.req, Owner: owner, Holder: a.holder, Stored: a.stored, reads: reads})
			if err == nil && a.give != nil && answers[i].dismissal == nil {
				a.give(answers[i])
			}
			return err
		})
	}
	err := group.Wait()
	for _, u := range answers {
		if u == nil {
			continue
		}
		if u.dismissal != nil { // the request was rejected or observed meanwhile: that stands
			return keypackage.Answer{Dismissal: u.dismissal}, nil
		}
		known.Claims = append(known.Claims, u.claim)
		a.created, a.found = a.created || !u.found, a.found || u.found
	}
	return known, err
}

// dismissal returns the answer to a request that is rejected or only observed.
func (a *answering) dismissal(outcome keypackage.Outcome, reason string) keypackage.Dismissal {
	now := a.now()
	dismissal := keypackage.Dismissal{
		RequestID: a.doc.ID, Outcome: outcome, Reason: reason, CreatedAt: now,
		KeepUntil: keypackage.KeepAnswerUntil(now.Add(keypackage.MaxRequestTTL)),
	}
	if a.req != nil {
		dismissal.Requester, dismissal.Owners, dismissal.Requested = a.req.Requester, a.req.Owners, a.req.Min
		dismissal.Authentic = outcome == keypackage.OutcomeObserved || keypackage.Rejection(reason).Authentic()
	}
	return dismissal
}

// dismiss records the answer to a whole request, unless another answer stands. If one of its units was answered meanwhile, so are
// the others. A race may also be lost to somebody who wrote nothing in the end; then it is run again.
func (a *answering) dismiss(ctx context.Context, dismissal keypackage.Dismissal) (known keypackage.Answer, err error) {
	if a.stored != nil { // as in attempt: whether it is to be claimed or dismissed may change while it is decided
		if err := a.stored(); err != nil {
			return known, err
		}
	}
	err = contend(ctx, func(int) (again bool, _ error) {
		lost := retryTransient(ctx, func() error { return a.store.Dismiss(ctx, dismissal, a.unitIDs()) })
		if lost == nil {
			known = keypackage.Answer{Dismissal: &dismissal}
			return false, nil
		}
		if again = errors.Is(lost, keypackage.ErrConflict); again {
			if known, err = a.recorded(ctx, true); err != nil || !known.Empty() {
				return false, err
			}
		}
		return again, fault.Retryable("dismiss_failed", lost)
	})
	if err != nil || known.Dismissal != nil {
		return known, err
	}
	return a.claim(ctx, known)
}

// observe records what would be claimed if the mode were deliver. Nothing is consumed. If a unit was answered in mode deliver, the
// rest is claimed as well.
func (a *answering) observe(ctx context.Context) (keypackage.Answer, error) {
	dismissal := a.dismissal(keypackage.OutcomeObserved, "")
	reads := newAllowance()
	for _, owner := range a.req.Owners {
		plan, err := a.plan(ctx, newStockReader(a.store, owner, []Unit{{Request: a.req, Owner: owner, reads: reads}}), false)
		if err != nil {
			return keypackage.Answer{}, err
		}
		dismissal.Observed = append(dismissal.Observed, plan.Answers[0].Row())
	}
	return a.dismiss(ctx, dismissal)
}

// end records that the units without an answer are not served any more. It reads no stock, which may be what made them fail.
func (a *answering) end(ctx context.Context) (keypackage.Answer, error) {
	known, err := a.recorded(ctx, true)
	if err != nil || known.Complete() || a.req == nil {
		return known, err
	}
	for _, owner := range a.req.Owners {
		if _, answered := known.Claim(owner); answered {
			continue
		}
		claim := newClaim(Unit{Request: a.req, Owner: owner}, a.now())
		claim.Status, claim.Reason = keypackage.StatusNone, keypackage.ReasonStale
		plan := &Plan{Owner: keypackage.Owner{Pubkey: owner}, Claims: []keypackage.Claim{claim}}
		if err := retryTransient(ctx, func() error { return a.store.Commit(ctx, plan) }); err != nil {
			return known, err
		}
		known.Claims = append(known.Claims, claim)
	}
	return known, nil
}

// finish announces what was claimed and notes the outcome, unless a gateway is about to tell it.
func (a *answering) finish(ctx context.Context, answer keypackage.Answer) error {
	byGateway := func(c keypackage.Claim) bool { return c.Gateway }
	if err := a.announce(ctx, answer); err != nil || slices.ContainsFunc(answer.Claims, byGateway) {
		return err
	}
	return a.note(ctx, answer)
}

// announce publishes the message. A request that nobody signed is not announced: there is nobody to tell.
func (a *answering) announce(ctx context.Context, answer keypackage.Answer) error {
	if !answer.Authentic() || answer.Observed() {
		return nil
	}
	return retryTransient(ctx, func() error { return a.publisher.PublishRequest(ctx, keypackage.NewAnnouncement(answer)) })
}

// note copies the outcome to the request's document, if it is known.
func (a *answering) note(ctx context.Context, answer keypackage.Answer) error {
	if !answer.Complete() {
		return nil
	}
	return retryTransient(ctx, func() error { return a.store.NoteOutcome(ctx, a.doc.ID, answer) })
}
