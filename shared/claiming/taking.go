package claiming

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// ownersAtOnce is how many owners of one request are read at the same time: with MaxStockBytes it bounds the memory that
// one request can take.
const ownersAtOnce = 8

// taking is one request that is being taken up.
type taking struct {
	*Claimer
	mode    keypackage.Mode
	doc     keypackage.RequestDocument
	req     *keypackage.Request // nil if not even its signature is known
	parsed  error               // why it is rejected, whatever the time
	holder  string              // see Unit
	created []*keypackage.Delivery
	found   bool // an answer was recorded already
}

// newTaking parses a request document. It returns nil, and why, if there is nothing to do.
func (c *Claimer) newTaking(ctx context.Context, doc keypackage.RequestDocument) (*taking, string, error) {
	mode, err := c.settings.Mode.Now(ctx)
	if err != nil || mode == keypackage.ModeOff {
		return nil, "mode_off", err
	}
	req, err := keypackage.ParseRequest(doc, c.settings.MaxPerOwner)
	if errors.Is(err, keypackage.ErrOtherKind) {
		return nil, "other_kind", nil
	}
	return &taking{Claimer: c, mode: mode, doc: doc, req: req, parsed: err}, "", nil
}

// unitIDs names the claims of the request's units.
func (t *taking) unitIDs() []string {
	if t.req == nil {
		return nil
	}
	ids := make([]string, len(t.req.Owners))
	for i, owner := range t.req.Owners {
		ids[i] = keypackage.ClaimID(t.req.ID, owner)
	}
	return ids
}

// recorded reads what is recorded of the request.
func (t *taking) recorded(ctx context.Context) ([]keypackage.Claim, error) {
	return t.read(ctx, append(t.unitIDs(), keypackage.ClaimID(t.doc.ID, "")))
}

// recordedFirst reads what may be recorded of the request as it stands now. One that would be claimed was hardly dismissed
// before; if it was, its claim loses against the record of that.
func (t *taking) recordedFirst(ctx context.Context) ([]keypackage.Claim, error) {
	if t.parsed == nil && t.mode == keypackage.ModeDeliver && t.req.Untimely(t.now(), t.settings.RequestMaxAge) == "" {
		return t.read(ctx, t.unitIDs())
	}
	return t.recorded(ctx)
}

func (t *taking) read(ctx context.Context, ids []string) (known []keypackage.Claim, err error) {
	err = retryTransient(ctx, func() (err error) {
		known, err = t.store.Claims(ctx, ids)
		return err
	})
	return known, err
}

// answer returns the recorded answers to the request, deciding what was not decided before. With an error it returns those
// that stand all the same.
func (t *taking) answer(ctx context.Context, known []keypackage.Claim) ([]keypackage.Claim, error) {
	if rejection, ok := errors.AsType[keypackage.Rejection](t.parsed); ok {
		return t.dismiss(ctx, t.dismissal(keypackage.StatusRejected, string(rejection)))
	}
	if rejection := t.req.Untimely(t.now(), t.settings.RequestMaxAge); rejection != "" && len(known) == 0 {
		return t.dismiss(ctx, t.dismissal(keypackage.StatusRejected, string(rejection)))
	}
	if t.mode == keypackage.ModeObserve && len(known) == 0 {
		return t.observe(ctx)
	}
	return t.claim(ctx, known)
}

// claim answers the units that are not known to be answered. Each owner's unit stands for itself: one that fails does not
// undo the others.
func (t *taking) claim(ctx context.Context, known []keypackage.Claim) ([]keypackage.Claim, error) {
	answers := make([]*answer, len(t.req.Owners))
	reads := newAllowance()
	var group errgroup.Group
	group.SetLimit(ownersAtOnce)
	for i, owner := range t.req.Owners {
		if slices.ContainsFunc(known, func(c keypackage.Claim) bool { return c.Owner == owner }) {
			continue
		}
		group.Go(func() (err error) {
			answers[i], err = t.owners.answer(ctx, Unit{Request: t.req, Owner: owner, Holder: t.holder, reads: reads})
			return err
		})
	}
	err := group.Wait()
	for _, a := range answers {
		if a == nil {
			continue
		}
		if isDismissal(a.claim) { // the request was rejected or observed meanwhile: that stands
			return []keypackage.Claim{a.claim}, nil
		}
		known, t.created, t.found = append(known, a.claim), append(t.created, a.created...), t.found || a.found
	}
	return known, err
}

// end records that the units without an answer are not served any more. It reads no stock, which may be what made them fail.
func (t *taking) end(ctx context.Context) ([]keypackage.Claim, error) {
	known, err := t.recorded(ctx)
	if err != nil || complete(known) || t.req == nil {
		return known, err
	}
	for _, owner := range t.req.Owners {
		if slices.ContainsFunc(known, func(c keypackage.Claim) bool { return c.Owner == owner }) {
			continue
		}
		claim := newClaim(Unit{Request: t.req, Owner: owner}, t.now())
		claim.Status, claim.Reason = keypackage.StatusNone, keypackage.ReasonStale
		plan := &Plan{Owner: keypackage.Owner{Pubkey: owner}, Claims: []keypackage.Claim{claim}}
		if err := retryTransient(ctx, func() error { return t.store.Commit(ctx, plan) }); err != nil {
			return known, err
		}
		known = append(known, claim)
	}
	return known, nil
}

// announce publishes the message. A request that nobody signed is not announced: there is nobody to tell.
func (t *taking) announce(ctx context.Context, claims []keypackage.Claim) error {
	if !claims[0].Authentic || claims[0].Status == keypackage.StatusObserved {
		return nil
	}
	return retryTransient(ctx, func() error { return t.publisher.PublishRequest(ctx, keypackage.NewAnnouncement(claims)) })
}

// note copies the outcome to the request's document, if it is known.
func (t *taking) note(ctx context.Context, claims []keypackage.Claim) error {
	outcome, complete := keypackage.Conclude(claims)
	if !complete {
		return nil
	}
	return retryTransient(ctx, func() error { return t.store.NoteOutcome(ctx, t.doc.ID, outcome, claims) })
}

func complete(claims []keypackage.Claim) bool {
	_, complete := keypackage.Conclude(claims)
	return complete
}
