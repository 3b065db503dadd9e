package delivering

import (
	"cmp"
	"context"
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

// granted returns a request's records and a page of the deliveries that they name. What was announced is all of it in the
// usual case; what is missing is searched for. The rest is still to be read.
func (d *Deliverer) granted(
	ctx context.Context, a keypackage.Announcement,
) (records []keypackage.Claim, found []keypackage.StoredDelivery, rest []keypackage.DeliveryRef, err error) {
	if records, found, err = d.store.Announced(ctx, a); err != nil {
		return nil, nil, nil, err
	}
	if _, complete := keypackage.Conclude(records); !complete {
		if records, err = d.store.RequestRecords(ctx, a.RequestID); err != nil {
			return nil, nil, nil, err
		}
	}
	rest = refsOf(records)
	found = slices.DeleteFunc(found, func(f keypackage.StoredDelivery) bool {
		i := slices.Index(rest, f.Ref())
		if i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
		return i < 0 // nobody granted it
	})
	if n := min(page-len(found), len(rest)); n > 0 {
		others, err := d.store.Deliveries(ctx, rest[:n])
		return records, append(found, others...), rest[n:], err
	}
	return records, found, rest, nil
}

// refsOf names all deliveries of a request, each once.
func refsOf(records []keypackage.Claim) []keypackage.DeliveryRef {
	var refs []keypackage.DeliveryRef
	for _, r := range records {
		refs = append(refs, r.Deliveries()...)
	}
	slices.SortFunc(refs, func(a, b keypackage.DeliveryRef) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(refs)
}

// pushOpen pushes everything that is open for a requester, page by page. What fails would fail for the rest, too.
func (w *work) pushOpen(ctx context.Context, requester string) error {
	after := ""
	for range openLimit / page {
		open, err := w.store.OpenFor(ctx, requester, after, page)
		if err != nil || len(open) == 0 {
			return err
		}
		last := len(open) < page
		after = open[len(open)-1].ID
		for _, group := range byRequest(open) {
			records, err := w.recordsFor(ctx, &group[0].Delivery)
			if err == nil {
				err = w.push(ctx, "", records, group, nil)
			}
			if err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
	return nil
}

// recordsFor returns the records of the last request that asked for the delivery.
func (w *work) recordsFor(ctx context.Context, d *keypackage.Delivery) ([]keypackage.Claim, error) {
	if records := d.ClaimsOf(d.LatestRequest()); len(records) > 0 {
		return records, nil
	}
	return w.store.RequestRecords(ctx, d.LatestRequest())
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

// push pushes deliveries under the request that the records answer: those that were found, on which the holder may hold
// leases already, and those that are still to be read.
func (w *work) push(
	ctx context.Context, holder string,
	records []keypackage.Claim, found []keypackage.StoredDelivery, rest []keypackage.DeliveryRef,
) error {
	if len(records) == 0 {
		return nil // older than the records that are kept, or not ours
	}
	latest := slices.MaxFunc(records, func(a, b keypackage.Claim) int { return a.CreatedAt.Compare(b.CreatedAt) })
	s := &session{
		work: w, holder: holder, tried: make(map[string]bool), outcomeEnds: latest.CreatedAt.Add(OutcomeAge),
		push: Push{RequestID: records[0].RequestID, Requester: records[0].Requester},
	}
	if w.now().Before(s.outcomeEnds) && !w.told[s.push.RequestID] {
		s.push.Outcome = outcome(records)
	}
	return s.run(ctx, found, rest)
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

// repeat sends what was delivered of a request once more.
func (w *work) repeat(ctx context.Context, a keypackage.Announcement) error {
	// No push is begun, which would find the tombstones: the deliveries are read by the names in the records.
	_, found, rest, err := w.granted(ctx, a.WithoutDeliveries())
	if err == nil {
		err = w.sendAgain(ctx, found)
	}
	for refs := range slices.Chunk(rest, page) {
		if err == nil {
			found, err = w.store.Deliveries(ctx, refs)
		}
		if err == nil {
			err = w.sendAgain(ctx, found)
		}
	}
	return err
}

func (w *work) sendAgain(ctx context.Context, found []keypackage.StoredDelivery) error {
	var again []*keypackage.Delivery
	for i := range found {
		if f := &found[i]; !f.Tombstoned && f.Repeatable(w.now()) {
			again = append(again, &f.Delivery)
		}
	}
	for _, batch := range batches(again) {
		push := Push{RequestID: batch[0].RequestID, Requester: batch[0].Requester, Deliveries: batch}
		push.ExpiresAt = earliestEnd(batch)
		results := w.callOnce(ctx, push)
		for _, d := range batch {
			w.alert(results.Of(d.ID))
			if results.Of(d.ID) == keypackage.ResultDelivered {
				w.result.Repeated++
			}
		}
		if results.Whole.Fails() {
			return failed(results)
		}
	}
	return nil
}
