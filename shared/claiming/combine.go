package claiming

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Bounds of one transaction. A unit brings about four writes and a package two, and a batch of up to 500 is safe. The whole
// document of a package, of which the delivery is a copy, has at most keypackage.MaxPackageBytes: 100 of them are 6.4 MB,
// and a transaction of up to 10 MiB is allowed.
const (
	combineUnits    = 50
	combinePackages = 100
)

// leadTime is how long one caller answers for all who wait for an owner. A batch takes a fraction of a second; the
// function has 60 s, the scheduled one 50, and an owner's turn must not be held by a database that does not answer.
const leadTime = 20 * time.Second

// combiner gathers the units that wait for the same owner while a transaction for that owner is under way in this
// process, and answers them together in the next one. Concurrent claims for one owner change the same documents, so one
// after another is all they could do anyway; together they need one transaction instead of many lost races.
type combiner struct {
	answerAll func(ctx context.Context, owner string, units []Unit) ([]unitAnswer, error)

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

func newCombiner(answerAll func(context.Context, string, []Unit) ([]unitAnswer, error)) *combiner {
	return &combiner{answerAll: answerAll, owners: make(map[string]*queue)}
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
		batch := c.nextBatch(q)
		units, index := distinctUnits(batch)
		answers, errs := c.answerEach(ctx, leader.unit.Owner, units)
		for i, w := range batch {
			w.answer, w.err = answers[index[i]], errs[index[i]]
			close(w.done)
		}
	}
}

// answerEach answers units together, or one after another if a document cannot be read, which may concern one of them only.
func (c *combiner) answerEach(ctx context.Context, owner string, units []Unit) ([]unitAnswer, []error) {
	errs := make([]error, len(units))
	answers, err := c.answerAll(ctx, owner, units)
	if err == nil {
		return answers, errs
	}
	answers = make([]unitAnswer, len(units))
	if len(units) == 1 || !errors.Is(err, keypackage.ErrUnreadable) {
		return answers, slices.Repeat([]error{err}, len(units))
	}
	for i := range units {
		one, err := c.answerEach(ctx, owner, units[i:i+1])
		answers[i], errs[i] = one[0], err[0]
	}
	return answers, errs
}

func (w *waiter) answered() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func (c *combiner) nextBatch(q *queue) []*waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, packages := 0, 0
	for n < min(len(q.waiting), combineUnits) {
		packages += q.waiting[n].unit.Request.Min
		if n > 0 && packages > combinePackages {
			break
		}
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}

// distinctUnits drops repetitions: the same event delivered twice at the same moment is one unit. index maps each waiter
// to its unit.
func distinctUnits(batch []*waiter) (units []Unit, index []int) {
	positions := make(map[string]int, len(batch))
	for _, w := range batch {
		id := w.unit.ClaimID()
		if _, ok := positions[id]; !ok {
			positions[id] = len(units)
			units = append(units, w.unit)
		}
		index = append(index, positions[id])
	}
	return units, index
}
