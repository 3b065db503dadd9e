// Package delivering is the use case of DeliverKeyPackages: it pushes what is pending to the relay and records what
// became of it.
//
// deliverer.go finds out what a message asks for, session.go goes through the deliveries of one
// request, push.go makes one push safely (the conditional write before it, the record of the answer after it), and ports.go is the contract with store and relay.
package delivering

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

// OutcomeAge is how old an outcome may be to be still told.
const OutcomeAge = 5 * time.Minute

// openLimit bounds what one message makes us push. What is beyond it waits for the next message or tick.
const openLimit = 500

// Deliverer pushes deliveries. It is safe for concurrent use.
type Deliverer struct {
	store Store
	relay Relay
	mode  rollout.Mode
	now   func() time.Time
}

// New returns a Deliverer. now is the clock.
func New(store Store, relay Relay, mode rollout.Mode, now func() time.Time) *Deliverer {
	return &Deliverer{store: store, relay: relay, mode: mode, now: now}
}

// Result says what a message brought about, for the log.
type Result struct {
	Pushes      int
	Delivered   int
	Undelivered int // nobody there, or nobody listening: still pending
	Unclear     int
	Alerts      []string // results that somebody has to look at
	// Latencies holds, for each delivery completed, the time from the relay's receipt of the request.
	Latencies []time.Duration
}

// ForRequest delivers what is pending of a request and tells its outcome. A nil error acknowledges the message; all
// errors are retryable.
func (d *Deliverer) ForRequest(ctx context.Context, a keypackage.Announcement) (Result, error) {
	if mode, err := d.mode.Now(ctx); err != nil || mode != keypackage.ModeDeliver {
		return Result{}, err
	}
	var result Result
	records, found, err := d.granted(ctx, a)
	if err == nil {
		err = d.pushRequest(ctx, &result, records, found)
	}
	return result, err
}

// granted returns a request's records and the deliveries that they name. What was announced is all of it in the usual
// case; what is missing is searched for.
func (d *Deliverer) granted(
	ctx context.Context, a keypackage.Announcement,
) (records []keypackage.Claim, found []keypackage.StoredDelivery, err error) {
	if records, found, err = d.store.Announced(ctx, a); err != nil {
		return nil, nil, err
	}
	if _, complete := keypackage.Conclude(records); !complete {
		if records, err = d.store.RequestRecords(ctx, a.RequestID); err != nil {
			return nil, nil, err
		}
	}
	missing := granted(records)
	found = slices.DeleteFunc(found, func(f keypackage.StoredDelivery) bool {
		i := slices.Index(missing, f.Ref())
		if i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
		return i < 0 // nobody granted it
	})
	if len(missing) == 0 {
		return records, found, nil
	}
	others, err := d.store.Deliveries(ctx, missing)
	return records, append(found, others...), err
}

// ForRequester delivers everything that is pending for a requester. Errors are as for ForRequest.
func (d *Deliverer) ForRequester(ctx context.Context, requester string) (Result, error) {
	if mode, err := d.mode.Now(ctx); err != nil || mode != keypackage.ModeDeliver {
		return Result{}, err
	}
	var result Result
	open, err := d.store.OpenFor(ctx, requester, openLimit)
	if err != nil {
		return result, err
	}
	var errs []error
	for _, group := range byRequest(open) {
		records, err := d.store.RequestRecords(ctx, group[0].LatestRequest())
		if err == nil {
			err = d.pushRequest(ctx, &result, records, group)
		}
		errs = append(errs, err)
	}
	return result, errors.Join(errs...)
}

// byRequest groups deliveries by the last request that asked for them, oldest first.
func byRequest(found []keypackage.StoredDelivery) [][]keypackage.StoredDelivery {
	slices.SortFunc(found, func(a, b keypackage.StoredDelivery) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.LatestRequest(), b.LatestRequest()))
	})
	var groups [][]keypackage.StoredDelivery
	index := make(map[string]int)
	for _, f := range found {
		i, ok := index[f.LatestRequest()]
		if !ok {
			i = len(groups)
			index[f.LatestRequest()] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

// pushRequest pushes deliveries under the request that the records answer.
func (d *Deliverer) pushRequest(
	ctx context.Context, result *Result, records []keypackage.Claim, found []keypackage.StoredDelivery,
) error {
	if len(records) == 0 {
		return nil // older than the records that are kept, or not ours
	}
	latest := slices.MaxFunc(records, func(a, b keypackage.Claim) int { return a.CreatedAt.Compare(b.CreatedAt) })
	session := &session{
		Deliverer: d, result: result, tried: make(map[string]bool),
		push:        Push{RequestID: records[0].RequestID, Requester: records[0].Requester},
		outcomeEnds: latest.CreatedAt.Add(OutcomeAge),
	}
	if d.now().Before(session.outcomeEnds) {
		session.push.Outcome = outcome(records)
	}
	return session.run(ctx, found)
}

// outcome returns the rows to tell. There are none if the requester never signed the request, or as long as an owner's
// answer is missing: an outcome is told once.
func outcome(records []keypackage.Claim) []keypackage.Row {
	if _, complete := keypackage.Conclude(records); !complete || !records[0].Authentic {
		return nil
	}
	rows := make([]keypackage.Row, len(records))
	for i := range records {
		rows[i] = records[i].Row()
	}
	return rows
}

// granted names all deliveries of a request, each once.
func granted(records []keypackage.Claim) []keypackage.DeliveryRef {
	var refs []keypackage.DeliveryRef
	for _, r := range records {
		refs = append(refs, r.Deliveries()...)
	}
	slices.SortFunc(refs, func(a, b keypackage.DeliveryRef) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(refs)
}

// retryLater is the error that asks for the message once more.
func retryLater(reason string, err error) error {
	return fault.Retryable(reason, fmt.Errorf("push is not finished: %w", err))
}
