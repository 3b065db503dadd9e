package delivering

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

// maxConflicts bounds the lost races of one invocation before the message goes back.
const maxConflicts = 10

// errLeased says that somebody else is pushing, and errUnfinished that a push ended so that it is worth repeating.
var (
	errLeased     = errors.New("another push is under way")
	errUnfinished = errors.New("not everything has a final answer")
)

// session pushes the deliveries of one request, for one message.
type session struct {
	*Deliverer
	result      *Result
	push        Push            // what all pushes have in common
	outcomeEnds time.Time       // until when the outcome is worth telling
	tried       map[string]bool // deliveries that this message has pushed
	told        bool            // the outcome went along with a push
	retry       bool            // an answer asks for the message once more
	conflicts   int
}

// run pushes what is pushable until every delivery has been tried or is not to be pushed. It never acknowledges while
// somebody else's push is under way, because that one may be lost: it waits for its end.
func (s *session) run(ctx context.Context, found []keypackage.StoredDelivery) error {
	left := refsOf(found)
	for {
		ready, leaseEnd := s.sort(found)
		switch {
		case len(ready) > 0:
			if err := s.pushAll(ctx, ready); err != nil {
				return err
			}
		case !leaseEnd.IsZero():
			if err := s.await(ctx, leaseEnd); err != nil {
				return err
			}
		default:
			return s.finish(ctx)
		}
		// What was pushed here is recorded and needs no second look: in the usual case that is all, and no call is made.
		left = slices.DeleteFunc(left, func(ref keypackage.DeliveryRef) bool { return s.tried[ref.ID] })
		var err error
		if found, err = s.store.Deliveries(ctx, left); err != nil {
			return err
		}
	}
}

// sort returns what this message has still to push, and when the next of the leases ends that others hold.
func (s *session) sort(found []keypackage.StoredDelivery) (ready []*keypackage.Delivery, leaseEnd time.Time) {
	now := s.now()
	for i := range found {
		switch d := &found[i]; {
		case d.Tombstoned || s.tried[d.ID]:
		case d.Pushable(now):
			ready = append(ready, &d.Delivery)
		case d.Leased(now) && (leaseEnd.IsZero() || d.LeaseUntil.Before(leaseEnd)):
			leaseEnd = d.LeaseUntil
		}
	}
	return ready, leaseEnd
}

// pushAll pushes in batches. A lost race only means that the batch has to be read and sorted again.
func (s *session) pushAll(ctx context.Context, ready []*keypackage.Delivery) error {
	for _, batch := range batches(ready) {
		err := s.pushBatch(ctx, batch)
		begun := s.tried[batch[0].ID] // then the race was for the record of the answer, which is still owed
		if errors.Is(err, keypackage.ErrConflict) && !begun && s.conflicts < maxConflicts {
			s.conflicts++
			continue
		}
		if err != nil {
			return retryLater("push_failed", err)
		}
	}
	return nil
}

// pollLease is how often the end of somebody else's push is looked for: most pushes end long before their lease does.
const pollLease = 100 * time.Millisecond

func (s *session) await(ctx context.Context, leaseEnd time.Time) error {
	if retry.Pause(ctx, min(max(leaseEnd.Sub(s.now()), time.Millisecond), pollLease)) != nil {
		return retryLater("leased", errLeased)
	}
	return nil
}

// finish tells the outcome if no push has carried it, and asks for the message once more if that may help.
func (s *session) finish(ctx context.Context) error {
	if !s.told && len(s.push.Outcome) > 0 {
		push := s.push
		push.ExpiresAt = s.outcomeEnds
		if err := s.tell(ctx, push); err != nil {
			return err
		}
	}
	if s.retry {
		return retryLater("unfinished", errUnfinished)
	}
	return nil
}

// tell makes a push without deliveries, about which there is nothing to say but whether it arrived.
func (s *session) tell(ctx context.Context, push Push) error {
	answer := s.call(ctx, push)
	if answer.Answer == keypackage.AnswerResults {
		return nil
	}
	verdict := keypackage.Judge(answer.Answer, "")
	if verdict.Alert {
		s.result.Alerts = append(s.result.Alerts, verdict.Result)
	}
	if verdict.Retry {
		return retryLater("outcome_not_told", answer.Err)
	}
	return nil
}

func refsOf(found []keypackage.StoredDelivery) []keypackage.DeliveryRef {
	refs := make([]keypackage.DeliveryRef, len(found))
	for i := range found {
		refs[i] = found[i].Ref()
	}
	return refs
}

// Bounds of one push: the relay accepts 8 MiB, and its answer has to come within the lease.
const (
	batchLimit = 100
	batchBytes = 4 << 20
)

func batches(ready []*keypackage.Delivery) [][]*keypackage.Delivery {
	var all [][]*keypackage.Delivery
	size := 0
	for _, d := range ready {
		last := len(all) - 1
		if last < 0 || len(all[last]) == batchLimit || size+len(d.Event()) > batchBytes {
			all, size, last = append(all, nil), 0, last+1
		}
		all[last] = append(all[last], d)
		size += len(d.Event())
	}
	return all
}
