package claiming

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ownersAtOnce is how many owners of one request are read at the same time: with MaxStockBytes it bounds the memory that
// one request can take.
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
func (c *Claimer) newAnswering(ctx context.Context, doc keypackage.RequestDocument) (*answering, string, error) {
	mode, err := c.settings.Mode.Now(ctx)
	if err != nil || mode == keypackage.ModeOff {
		return nil, "mode_off", err
	}
	req, err := keypackage.ParseRequest(doc, c.settings.MaxPerOwner)
	if errors.Is(err, keypackage.ErrOtherKind) {
		return nil, "other_kind", nil
	}
	return &answering{Claimer: c, mode: mode, doc: doc, req: req, parsed: err}, "", nil
}

// unitIDs names the claims of the request's units.
func (a *answering) unitIDs() []string {
	if a.req == nil {
		return nil
	}
	ids := make([]string, len(a.req.Owners))
	for i, owner := range a.req.Owners {
		ids[i] = keypackage.ClaimID(a.req.ID, owner)
	}
	return ids
}

// recorded reads what is recorded of the request.
func (a *answering) recorded(ctx context.Context) (keypackage.Answer, error) {
	return a.read(ctx, append(a.unitIDs(), keypackage.DismissalID(a.doc.ID)))
}

// recordedFirst reads what may be recorded of the request as it stands now. One that would be claimed was hardly dismissed
// before; if it was, its claim loses against the dismissal.
func (a *answering) recordedFirst(ctx context.Context) (keypackage.Answer, error) {
	if a.claimable() {
		return a.read(ctx, a.unitIDs())
	}
	return a.recorded(ctx)
}

// claimable reports whether the request is one to be claimed, as far as that is known without a look at what is recorded.
func (a *answering) claimable() bool {
	return a.parsed == nil && a.mode == keypackage.ModeDeliver && a.req.Untimely(a.now(), a.settings.RequestMaxAge) == ""
}

func (a *answering) read(ctx context.Context, ids []string) (known keypackage.Answer, err error) {
	err = retryTransient(ctx, func() error {
		answers, err := a.store.Answers(ctx, ids)
		known = answers[a.doc.ID]
		return err
	})
	return known, err
}

// answer returns the recorded answer to the request, deciding what was not decided before. With an error it returns what
// stands all the same.
func (a *answering) answer(ctx context.Context, known keypackage.Answer) (keypackage.Answer, error) {
	if rejection, ok := errors.AsType[keypackage.Rejection](a.parsed); ok {
		return a.dismiss(ctx, a.dismissal(keypackage.OutcomeRejected, string(rejection)))
	}
	if rejection := a.req.Untimely(a.now(), a.settings.RequestMaxAge); rejection != "" && known.Empty() {
		return a.dismiss(ctx, a.dismissal(keypackage.OutcomeRejected, string(rejection)))
	}
	if a.mode == keypackage.ModeObserve && known.Empty() {
		return a.observe(ctx)
	}
	return a.claim(ctx, known)
}

// claim answers the units that are not known to be answered. Each owner's unit stands for itself: one that fails does not
// undo the others.
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

// end records that the units without an answer are not served any more. It reads no stock, which may be what made them fail.
func (a *answering) end(ctx context.Context) (keypackage.Answer, error) {
	known, err := a.recorded(ctx)
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
