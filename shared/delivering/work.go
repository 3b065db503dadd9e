package delivering

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const (
	// OutcomeAge is how old an outcome may be to be still told.
	OutcomeAge = 5 * time.Minute
	// messageTime is after how long a message begins no further push, and stops waiting for somebody else's. With one
	// lease, and the time to record, it is within the 60 s of an invocation.
	messageTime = 35 * time.Second
	// openLimit bounds what one message makes us push. What is beyond it waits for the next message or tick.
	openLimit = 500
	// page is how many deliveries are read at a time: they are held in memory with their packages, up to 1 MiB each.
	page = 32
)

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

// granted returns the answer to a request and a page of the deliveries that it names. What was announced is all of it in the
// usual case; what is missing is searched for. The rest is still to be read.
func (d *Deliverer) granted(
	ctx context.Context, a keypackage.Announcement,
) (answer keypackage.Answer, found []keypackage.StoredDelivery, rest []keypackage.DeliveryRef, err error) {
	if answer, found, err = d.store.Announced(ctx, a); err != nil {
		return answer, nil, nil, err
	}
	if !answer.Complete() {
		if answer, err = d.store.Answer(ctx, a.RequestID); err != nil {
			return answer, nil, nil, err
		}
	}
	rest = answer.Deliveries()
	found = slices.DeleteFunc(found, func(f keypackage.StoredDelivery) bool {
		i := slices.Index(rest, f.Ref())
		if i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
		return i < 0 // nobody granted it
	})
	if n := min(page-len(found), len(rest)); n > 0 {
		others, err := d.store.Deliveries(ctx, rest[:n])
		return answer, append(found, others...), rest[n:], err
	}
	return answer, found, rest, nil
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
			answer, err := w.answerFor(ctx, &group[0].Delivery)
			if errors.Is(err, keypackage.ErrUnreadable) {
				unreadable = err
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

// answerFor returns the answer to the last request that asked for the delivery.
func (w *work) answerFor(ctx context.Context, d *keypackage.Delivery) (keypackage.Answer, error) {
	if answer := d.AnswerTo(d.LatestRequest()); !answer.Empty() {
		return answer, nil
	}
	return w.store.Answer(ctx, d.LatestRequest())
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

// push pushes deliveries under the request with this answer: those that were found, on which the holder may hold
// leases already, and those that are still to be read.
func (w *work) push(
	ctx context.Context, holder string,
	answer keypackage.Answer, found []keypackage.StoredDelivery, rest []keypackage.DeliveryRef,
) error {
	if answer.Empty() {
		return nil // older than the answers that are kept, or not ours
	}
	s := &session{
		work: w, holder: holder, tried: make(map[string]bool), outcomeEnds: answer.CreatedAt().Add(OutcomeAge),
		push: Push{RequestID: answer.RequestID(), Requester: answer.Requester()},
	}
	// An outcome is told once, so none while an owner's claim is missing, and only to whoever has signed the request.
	if answer.Complete() && answer.Authentic() && w.now().Before(s.outcomeEnds) && !w.told[s.push.RequestID] {
		s.push.Outcome = answer.Rows()
	}
	return s.run(ctx, found, rest)
}

// repeat sends what was delivered once more, page by page.
func (w *work) repeat(ctx context.Context, refs []keypackage.DeliveryRef) error {
	for refs := range slices.Chunk(refs, page) {
		found, err := w.store.Deliveries(ctx, refs)
		if err == nil {
			err = w.sendAgain(ctx, found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *work) sendAgain(ctx context.Context, found []keypackage.StoredDelivery) error {
	var again []*keypackage.Delivery
	for i := range found {
		if f := &found[i]; !f.Tombstoned && f.Repeatable(w.now()) {
			again = append(again, &f.Delivery)
		}
	}
	for _, batch := range batches(again) {
		results := w.callOnce(ctx, Push{
			RequestID: batch[0].RequestID, Requester: batch[0].Requester, Deliveries: batch, ExpiresAt: earliestEnd(batch),
		})
		for _, d := range batch {
			w.alert(results.Of(d.ID))
		}
		if results.Whole.Fails() {
			return failed(results)
		}
	}
	return nil
}
