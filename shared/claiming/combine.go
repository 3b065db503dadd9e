package claiming

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Bounds of one transaction, of which up to 500 writes are safe. A unit brings three, its claim, its pair and a condition, and a
// package four: delivery, ledger, its deletion and a condition. The whole document of a package, of which the delivery is a
// copy, has at most keypackage.MaxPackageBytes: 75 of them are 4.8 MB, and a transaction of up to 10 MiB is allowed.
const (
	combineUnits    = 50
	combinePackages = 75
)

// leadTime is how long one caller answers for all who wait for an owner. A batch takes a fraction of a second; the
// function has 60 s, the scheduled one 50, and an owner's turn must not be held by a database that does not answer.
const leadTime = 20 * time.Second

// answerAll answers units of one owner, each once, and returns what each is given, by its claim's id. Before it tries again it asks
// for those who have come meanwhile: more returns all units, old and new, and the answers are to all of them.
type answerAll func(ctx context.Context, owner string, units []Unit, more func() []Unit) (map[string]unitAnswer, error)

// combiner gathers the units that wait for the same owner while a transaction for that owner is under way in this
// process, and answers them together in the next one. Concurrent claims for one owner change the same documents, so one
// after another is all they could do anyway; together they need one transaction instead of many lost races.
type combiner struct {
	answerAll answerAll

	mu     sync.Mutex
	owners map[string]*queue
}

// queue holds the units that wait for one owner. Whoever holds the turn answers for all who wait.
type queue struct {
	turn    chan struct{} // capacity 1
	waiting []*waiter
	users   int // callers that hold a pointer to the queue
}

type waiter struct {
	unit   Unit
	done   chan struct{}
	answer unitAnswer
	err    error
}

func newCombiner(do answerAll) *combiner {
	return &combiner{answerAll: do, owners: make(map[string]*queue)}
}

// answer returns once the unit's claim is committed, or has failed. Every caller waits for its own unit: no one
// acknowledges an event before its answer is safe.
func (c *combiner) answer(ctx context.Context, u Unit) (*unitAnswer, error) {
	w := &waiter{unit: u, done: make(chan struct{})}
	q := c.enter(w)
	defer c.leave(u.Owner, q)
	select {
	case <-w.done:
	case q.turn <- struct{}{}:
		c.lead(ctx, q, w)
		<-q.turn
		if !w.answered() { // whoever has the turn next answers it; the event comes again and finds that
			return nil, fault.Retryable("claim_failed", errOwnerBusy)
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if w.err != nil {
		return nil, w.err
	}
	return &w.answer, nil
}

var errOwnerBusy = errors.New("the time is over before those who asked for the owner before are answered")

func (c *combiner) enter(w *waiter) *queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.owners[w.unit.Owner]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		c.owners[w.unit.Owner] = q
	}
	q.waiting = append(q.waiting, w)
	q.users++
	return q
}

func (c *combiner) leave(owner string, q *queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(c.owners, owner)
	}
}

// lead answers batches until the leader's own unit has its answer, or its time is over. The leader's context serves the
// whole batch, without its cancellation: one caller that goes away must not fail the others.
func (c *combiner) lead(ctx context.Context, q *queue, leader *waiter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leadTime)
	defer cancel()
	for !leader.answered() && ctx.Err() == nil {
		batch := c.nextBatch(q, nil)
		answers, err := c.answerAll(ctx, leader.unit.Owner, distinct(batch), func() []Unit {
			batch = c.nextBatch(q, batch)
			return distinct(batch)
		})
		for _, w := range batch {
			if w.err = err; errors.Is(err, keypackage.ErrUnreadable) { // of a document that may concern one of them only
				alone := []Unit{w.unit}
				answers, w.err = c.answerAll(ctx, w.unit.Owner, alone, func() []Unit { return alone })
			}
			w.answer = answers[w.unit.ClaimID()]
			close(w.done)
		}
	}
}

func (w *waiter) answered() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// nextBatch adds to a batch those who wait, as far as one transaction allows.
func (c *combiner) nextBatch(q *queue, batch []*waiter) []*waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	packages := 0
	for _, w := range batch {
		packages += w.unit.Request.Min
	}
	for len(q.waiting) > 0 && len(batch) < combineUnits {
		packages += q.waiting[0].unit.Request.Min
		if len(batch) > 0 && packages > combinePackages {
			break
		}
		batch, q.waiting = append(batch, q.waiting[0]), q.waiting[1:]
	}
	return batch
}

// distinct returns the units of a batch, each once: the same event may be delivered twice at the same moment.
func distinct(batch []*waiter) (units []Unit) {
	seen := make(map[string]bool, len(batch))
	for _, w := range batch {
		if id := w.unit.ClaimID(); !seen[id] {
			seen[id], units = true, append(units, w.unit)
		}
	}
	return units
}
