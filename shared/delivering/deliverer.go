// Package delivering is the use case of DeliverKeyPackages: it pushes what is pending to the relay and records what became of it.
//
// deliverer.go finds out what a message asks for, session.go goes through the deliveries of one request, push.go makes one push safely
// (the conditional write before it, the recording of its results after it), and ports.go is the contract with store, relay and log.
package delivering

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

const (
	// LeftToTick is the reason of the error with which [Deliverer.ForRequester] fails.
	LeftToTick = "left_to_tick"
	OutcomeAge = 5 * time.Minute // an outcome that is older is not told any more
	openLimit  = 500             // deliveries that one message makes us push; what is beyond waits for the next message or tick
	page       = 32              // deliveries read at a time: they are held in memory with their packages, up to 1 MiB each
	// messageTime is after how long a message begins no further push, and stops waiting for somebody else's. With one lease, and
	// the time to record, it is within the 60 s of an invocation.
	messageTime = 35 * time.Second
)

// Deliverer pushes deliveries. It is safe for concurrent use.
type Deliverer struct {
	store   Store
	relay   Relay
	mode    rollout.Mode
	now     func() time.Time
	timeout time.Duration // of one push
	lease   time.Duration // for one push
}

// New returns a Deliverer that pushes to a relay. now is the clock.
func New(store Store, relay Relay, mode rollout.Mode, now func() time.Time) *Deliverer {
	return &Deliverer{store, relay, mode, now, keypackage.PushTimeout, keypackage.Lease}
}

// NewLocal returns a Deliverer that pushes into sessions of this process, which takes no time: its leases are short.
func NewLocal(store Store, sessions Relay, mode rollout.Mode, now func() time.Time) *Deliverer {
	return &Deliverer{store, sessions, mode, now, keypackage.LocalPushTimeout, keypackage.LocalLease}
}

// work is what one message makes us do.
type work struct {
	*Deliverer
	result Result
	until  time.Time       // no push begins later
	told   map[string]bool // requests whose outcome went along with a push
}

func (d *Deliverer) handle(ctx context.Context, do func(*work) error) (Result, error) {
	if mode, err := d.mode.Now(ctx); err != nil || mode != keypackage.ModeDeliver {
		return Result{}, err
	}
	w := &work{Deliverer: d, until: d.now().Add(messageTime), told: make(map[string]bool)}
	err := do(w)
	return w.result, err
}

// ForRequest delivers what is pending of a request and tells its outcome. A nil or permanent error acknowledges the message; after
// the latter somebody has to look at the relay or its address.
func (d *Deliverer) ForRequest(ctx context.Context, a keypackage.Announcement) (Result, error) {
	return d.handle(ctx, func(w *work) error { return w.pushGranted(ctx, a) })
}

// pushGranted pushes what a request was granted. What was announced is all of it in the usual case; what is missing is searched for.
func (w *work) pushGranted(ctx context.Context, a keypackage.Announcement) error {
	answer, found, err := w.store.Announced(ctx, a)
	if err == nil && !answer.Complete() {
		answer, err = w.store.Answer(ctx, a.RequestID)
	}
	if err != nil {
		return err
	}
	rest := answer.Deliveries()
	found = slices.DeleteFunc(found, func(f keypackage.StoredDelivery) bool {
		i := slices.Index(rest, f.Ref())
		if i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
		return i < 0 // nobody granted it, or it was named twice
	})
	if n := min(page-len(found), len(rest)); n > 0 {
		others, err := w.store.Deliveries(ctx, rest[:n])
		if err != nil {
			return err
		}
		found, rest = append(found, others...), rest[n:]
	}
	return w.push(ctx, "", answer, found, rest)
}

// Begun pushes deliveries whose first push was begun for that holder by the transaction that claimed them, and tells the
// outcome of the request with this answer. It reads nothing first. Errors are as for ForRequest.
func (d *Deliverer) Begun(ctx context.Context, holder string, answer keypackage.Answer, begun []keypackage.StoredDelivery) (Result, error) {
	return d.handle(ctx, func(w *work) error { return w.push(ctx, holder, answer, begun, nil) })
}

// ForRequester delivers everything that is pending for a requester. Its error is always permanent, with the reason
// LeftToTick: the next tick asks for the same again, as long as anything is pending, so neither a retry nor a dead letter
// would add anything. Only a claim's message becomes a dead letter, which makes at most one for each request.
func (d *Deliverer) ForRequester(ctx context.Context, requester string) (Result, error) {
	result, err := d.handle(ctx, func(w *work) error { return w.pushOpen(ctx, requester) })
	if err != nil {
		err = fault.Final(LeftToTick, err)
	}
	return result, err
}

// pushOpen pushes all that is open for a requester, in pages. Any failure would be repeated, but for an unreadable claim.
func (w *work) pushOpen(ctx context.Context, requester string) error {
	var unreadable error
	for after, n := "", page; n <= openLimit; n += page {
		open, err := w.store.OpenFor(ctx, requester, after, page)
		if err != nil || len(open) == 0 {
			return cmp.Or(err, unreadable)
		}
		after = open[len(open)-1].ID
		for _, group := range byRequest(open) {
			request := group[0].LatestRequest()
			answer := group[0].AnswerTo(request)
			if answer.Empty() {
				answer, err = w.store.Answer(ctx, request)
			}
			if errors.Is(err, keypackage.ErrUnreadable) {
				unreadable, err = err, nil
				continue
			}
			if err == nil {
				err = w.push(ctx, "", answer, group, nil)
			}
			if err != nil {
				return err
			}
		}
		if len(open) < page {
			break
		}
	}
	return unreadable
}

// byRequest groups deliveries by the last request that asked for them, oldest first.
func byRequest(found []keypackage.StoredDelivery) [][]keypackage.StoredDelivery {
	slices.SortFunc(found, func(a, b keypackage.StoredDelivery) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.LatestRequest(), b.LatestRequest()))
	})
	var groups [][]keypackage.StoredDelivery
	for _, f := range found {
		i := slices.IndexFunc(groups, func(g []keypackage.StoredDelivery) bool { return g[0].LatestRequest() == f.LatestRequest() })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

// Repeat sends what was delivered to its requester again, until it expires: to a session that did not exist then. Nothing is
// exposed by that, and nothing recorded. Errors are as for ForRequest.
func (d *Deliverer) Repeat(ctx context.Context, refs []keypackage.DeliveryRef) (Result, error) {
	return d.handle(ctx, func(w *work) error {
		for refs := range slices.Chunk(refs, page) {
			found, err := d.store.Deliveries(ctx, refs)
			if err == nil {
				err = w.sendAgain(ctx, found)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *work) sendAgain(ctx context.Context, found []keypackage.StoredDelivery) error {
	var again []*keypackage.Delivery
	for i := range found {
		if f := &found[i]; !f.Tombstoned && f.Repeatable(w.now()) {
			again = append(again, &f.Delivery)
		}
	}
	for _, batch := range batches(again) {
		results := w.callOnce(ctx, Push{RequestID: batch[0].RequestID, Requester: batch[0].Requester, Deliveries: batch})
		for _, d := range batch {
			w.alert(results.Of(d.ID))
		}
		if results.Whole.Fails() {
			return failed(results)
		}
	}
	return nil
}
