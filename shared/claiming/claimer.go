// Package claiming is the use case of ClaimKeyPackages: it turns one stored 447 into recorded answers and pending
// deliveries.
//
// claimer.go takes up a request, combine.go gathers concurrent units of one owner, owner.go answers them in one transaction:
// read.go reads the stock, decide.go and select.go choose what the units get, supply.go notes what is left, and settle.go
// finds out whether what was chosen is what it seems. whole.go answers what is rejected or only observed, and store.go is the
// contract with the store.
package claiming

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
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

// Result says what became of a request, for the log. Outcome is "" if the request was left alone.
type Result struct {
	RequestID string
	Outcome   keypackage.Outcome
	Reason    string
	Repeated  bool // every answer had been recorded before, by a Claim that has counted them

	Granted    int
	Owners     int           // without those of OutOfStock
	Reserves   int           // owners who gave their reserve: their stock is used up
	Empty      int           // owners whose stock was found to have come to its end
	OutOfStock int           // owners who had nothing when last asked for either, see keypackage.Claim
	Age        time.Duration // from the relay's receipt to the answer
	Unmarked   bool          // the relay does not write the mark by which a request is found whose trigger is lost
}

// ReasonOutOfStock is the Result's reason of a request for nobody but owners out of stock. Any stranger can ask for such:
// it says nothing about the service.
const ReasonOutOfStock = "out_of_stock"

// Label is the outcome as a word for the log.
func (r Result) Label() string {
	if r.Outcome == "" {
		return "ignored"
	}
	return string(r.Outcome)
}

// Claim takes up one request document, which may have been taken up before: then the recorded answer stands and only its
// announcement is repeated. It returns nil once every unit's answer is recorded and announced, or if there is nothing to
// do. Its errors are retryable.
func (c *Claimer) Claim(ctx context.Context, doc keypackage.RequestDocument) (Result, error) {
	result, begun := Result{RequestID: doc.ID}, c.now()
	mode, err := c.settings.Mode.Now(ctx)
	if err != nil || mode == keypackage.ModeOff {
		result.Reason = "mode_off"
		return result, err
	}
	req, err := keypackage.ParseRequest(doc, c.settings.MaxPerOwner)
	if errors.Is(err, keypackage.ErrOtherKind) {
		result.Reason = "other_kind"
		return result, nil
	}
	result.Unmarked = !doc.Marked
	records, err := c.records(ctx, mode, doc, req, err)
	if len(records) > 0 {
		result.fill(records, begun)
		if !result.Repeated {
			result.Age = c.now().Sub(doc.ReceivedAt)
		}
		err = errors.Join(err, c.announce(ctx, doc, records))
	}
	return result, err
}

// fill sums up the records. If all were made before begun, another result has counted them.
func (r *Result) fill(records []keypackage.Claim, begun time.Time) {
	r.Outcome, _ = keypackage.Conclude(records)
	r.Repeated = true
	for _, record := range records {
		if r.Reason == "" {
			r.Reason = record.Reason
		}
		r.Repeated = r.Repeated && record.CreatedAt.Before(begun)
		r.count(record)
	}
	if r.Reason == "" && r.OutOfStock > 0 && r.Owners == 0 {
		r.Reason = ReasonOutOfStock
	}
}

func (r *Result) count(record keypackage.Claim) {
	r.Granted += record.Granted
	switch {
	case record.OutOfStock:
		r.OutOfStock++
	case record.Owner != "":
		r.Owners++
	}
	if record.Reserve {
		r.Reserves++
	}
	if record.Status == keypackage.StatusNone && record.Reason == "" && !record.OutOfStock {
		r.Empty++
	}
}

// records returns the recorded answers to the request, deciding what was not decided before. With an error it returns
// those that stand all the same.
func (c *Claimer) records(
	ctx context.Context, mode keypackage.Mode, doc keypackage.RequestDocument, req *keypackage.Request, parseErr error,
) ([]keypackage.Claim, error) {
	if rejection, ok := errors.AsType[keypackage.Rejection](parseErr); ok {
		return c.settle(ctx, c.wholeRecord(doc, req, keypackage.StatusRejected, string(rejection)), req)
	}
	if rejection := req.Untimely(c.now(), c.settings.RequestMaxAge); rejection != "" {
		known, err := c.store.Records(ctx, append(unitIDs(req), keypackage.ClaimID(req.ID, "")))
		if err != nil {
			return nil, err
		}
		if len(known) == 0 {
			return c.settle(ctx, c.wholeRecord(doc, req, keypackage.StatusRejected, string(rejection)), req)
		}
	}
	if mode == keypackage.ModeObserve {
		return c.observe(ctx, doc, req)
	}
	return c.claim(ctx, req)
}

// ownersAtOnce is how many owners of one request are read at the same time: with MaxStockBytes it bounds the memory that
// one request can take.
const ownersAtOnce = 8

// claim answers all units. Each owner's unit stands for itself: one that fails does not undo the others.
func (c *Claimer) claim(ctx context.Context, req *keypackage.Request) ([]keypackage.Claim, error) {
	answers := make([]*keypackage.Claim, len(req.Owners))
	reads := newAllowance()
	var group errgroup.Group
	group.SetLimit(ownersAtOnce)
	for i, owner := range req.Owners {
		group.Go(func() (err error) {
			answers[i], err = c.owners.answer(ctx, Unit{Request: req, Owner: owner, reads: reads})
			return err
		})
	}
	err := group.Wait()
	var records []keypackage.Claim
	for _, record := range answers {
		if record == nil {
			continue
		}
		if record.Owner == "" { // the request was rejected or observed meanwhile: that stands
			return []keypackage.Claim{*record}, nil
		}
		records = append(records, *record)
	}
	return records, err
}

// announce publishes the message and copies the outcome to the request's document. A request that nobody signed is not
// announced: there is nobody to tell.
func (c *Claimer) announce(ctx context.Context, doc keypackage.RequestDocument, records []keypackage.Claim) error {
	group, ctx := errgroup.WithContext(ctx)
	if records[0].Authentic && records[0].Status != keypackage.StatusObserved {
		group.Go(func() error {
			return retryTransient(ctx, func() error { return c.publisher.PublishRequest(ctx, keypackage.NewAnnouncement(records)) })
		})
	}
	if outcome, complete := keypackage.Conclude(records); complete {
		group.Go(func() error {
			return retryTransient(ctx, func() error { return c.store.NoteOutcome(ctx, doc.ID, outcome, records) })
		})
	}
	return group.Wait()
}
