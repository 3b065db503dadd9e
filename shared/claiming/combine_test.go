package claiming

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// transaction stands for answerOwner: it accuses when two run for one owner at a time, or a unit comes twice in one.
type transaction struct {
	*testing.T
	gate    chan struct{} // each transaction waits for one value; nil: none waits
	err     error
	mu      sync.Mutex
	running map[string]bool
	sizes   []int
	most    atomic.Int32
}

func (x *transaction) answerAll(ctx context.Context, owner string, units []Unit, _ func() []Unit) (map[string]unitAnswer, error) {
	x.mu.Lock()
	if x.running == nil {
		x.running = make(map[string]bool)
	}
	if x.running[owner] {
		x.Errorf("two transactions for one owner at a time")
	}
	x.running[owner] = true
	x.sizes = append(x.sizes, len(units))
	x.most.Store(max(x.most.Load(), int32(len(x.running))))
	x.mu.Unlock()
	if x.gate != nil {
		<-x.gate
	}
	answers := make(map[string]unitAnswer)
	seen := make(map[string]bool)
	for _, u := range units {
		if u.Owner != owner || seen[u.ClaimID()] {
			x.Errorf("unit %s in a transaction of %s, seen %v", u.ClaimID(), owner, seen[u.ClaimID()])
		}
		seen[u.ClaimID()] = true
		answers[u.ClaimID()] = unitAnswer{claim: keypackage.Claim{RequestID: u.Request.ID, Owner: owner}}
	}
	x.mu.Lock()
	delete(x.running, owner)
	x.mu.Unlock()
	return answers, errors.Join(x.err, ctx.Err())
}

func TestEveryCallerGetsTheAnswerToItsUnit(t *testing.T) {
	t.Parallel()
	x := &transaction{T: t}
	c := newCombiner(x.answerAll)
	var callers sync.WaitGroup
	for i := range 300 {
		callers.Go(func() {
			u := ask(fmt.Sprint("r", i/2%70), 1) // each of 70 requests several times
			u.Owner = fmt.Sprint("owner", i%3)
			a, err := c.answer(t.Context(), u)
			if err != nil || a.claim.RequestID != u.Request.ID || a.claim.Owner != u.Owner {
				t.Errorf("%s: got %+v, %v", u.ClaimID(), a, err)
			}
		})
	}
	callers.Wait()
	if len(c.owners) != 0 {
		t.Errorf("%d queues are left", len(c.owners))
	}
}

// What waits while a transaction runs is answered by the next one, in bounded batches, the same unit once.
func TestBatches(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		callers, wanted int
		id              func(int) string
		sizes           []int
	}{
		"one":                  {1, 1, numbered, []int{1}},
		"those who wait":       {31, 1, numbered, []int{1, 30}},
		"at most so many":      {121, 1, numbered, []int{1, 50, 50, 20}},
		"at most for so much":  {15, 10, numbered, []int{1, 7, 7}},
		"the same event again": {31, 1, func(i int) string { return fmt.Sprint(i % 5) }, []int{1, 5}},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := &transaction{T: t, gate: make(chan struct{})}
			c := newCombiner(x.answerAll)
			for i := range tt.callers {
				go func() {
					if _, err := c.answer(t.Context(), ask(tt.id(i), tt.wanted)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}()
				synctest.Wait() // the first leads, the others wait
			}
			for range tt.sizes {
				x.gate <- struct{}{}
				synctest.Wait()
			}
			if fmt.Sprint(x.sizes) != fmt.Sprint(tt.sizes) {
				t.Errorf("%s: transactions of %v units, want %v", name, x.sizes, tt.sizes)
			}
		})
	}
}

func numbered(i int) string { return fmt.Sprint(i) }

func TestOwnersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := &transaction{T: t, gate: make(chan struct{})}
		c := newCombiner(x.answerAll)
		for i := range 4 {
			u := ask("r", 1)
			u.Owner = fmt.Sprint("owner", i)
			go func() { _, _ = c.answer(t.Context(), u) }()
		}
		synctest.Wait()
		if x.most.Load() != 4 {
			t.Errorf("%d of 4 owners are answered at the same time", x.most.Load())
		}
		close(x.gate)
	})
}

// One caller that goes away does not fail the others: neither as the one who leads, nor as one who waits.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := &transaction{T: t, gate: make(chan struct{})}
		c := newCombiner(x.answerAll)
		impatient, goAway := context.WithCancel(t.Context())
		answers := make([]error, 4)
		for i, ctx := range []context.Context{impatient, t.Context(), impatient, t.Context()} {
			go func() { _, answers[i] = c.answer(ctx, ask(fmt.Sprint(i), 1)) }()
			synctest.Wait()
		}
		goAway()
		synctest.Wait()
		if answers[2] == nil {
			t.Error("who waits and goes away is told that there is an answer")
		}
		close(x.gate)
		synctest.Wait()
		for _, i := range []int{0, 1, 3} {
			if answers[i] != nil {
				t.Errorf("caller %d: %v", i, answers[i])
			}
		}
		if len(c.owners) != 0 {
			t.Errorf("%d queues are left", len(c.owners))
		}
	})
}

// A database that does not answer holds an owner's turn for leadTime, whatever time the caller has; then the next leads.
func TestLeaderHasADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Bool
		silent.Store(true)
		c := newCombiner(func(ctx context.Context, owner string, units []Unit, _ func() []Unit) (map[string]unitAnswer, error) {
			if silent.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		})
		begun := time.Now()
		answers := make([]error, combineUnits+3) // more than the second leader's batch, which is to fail alone
		var callers sync.WaitGroup
		for i := range answers {
			callers.Go(func() { _, answers[i] = c.answer(t.Context(), ask(fmt.Sprint(i), 1)) })
			synctest.Wait()
		}
		time.Sleep(leadTime + time.Second)
		synctest.Wait()
		if !fault.IsRetryable(answers[0]) {
			t.Errorf("the first caller was told %v", answers[0])
		}
		silent.Store(false)
		callers.Wait()
		if taken := time.Since(begun); taken > 2*leadTime {
			t.Errorf("the owner was busy for %v", taken)
		}
		if answers[len(answers)-1] != nil {
			t.Errorf("the last was told %v", answers[len(answers)-1])
		}
		if len(c.owners) != 0 {
			t.Errorf("%d queues are left", len(c.owners))
		}
	})
}

// Whatever documents a batch hands out, removes and flags, its transaction stays below Firestore's 10 MiB with room for the
// writes: each document that is handed out is written once, with its delivery, and deleted once.
func TestBatchFitsIntoATransaction(t *testing.T) {
	t.Parallel()
	if most := combinePackages*keypackage.MaxPackageBytes + cleanBytes + 1<<20; most > 9<<20 {
		t.Errorf("a batch may have %d bytes", most)
	}
}

func TestErrorReachesTheWholeBatchOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := &transaction{T: t, gate: make(chan struct{}), err: errors.New("the database is away")}
		c := newCombiner(x.answerAll)
		var failed atomic.Int32
		for i := range 3 {
			go func() {
				if a, err := c.answer(t.Context(), ask(fmt.Sprint(i), 1)); err != nil && a == nil {
					failed.Add(1)
				}
			}()
			synctest.Wait()
		}
		for range 2 {
			x.gate <- struct{}{}
			synctest.Wait()
		}
		if failed.Load() != 3 {
			t.Errorf("%d of 3 callers were told", failed.Load())
		}
		x.err, x.gate = nil, nil
		if _, err := c.answer(t.Context(), ask("0", 1)); err != nil {
			t.Errorf("a failure is remembered: %v", err)
		}
	})
}

// A unit whose requester's document cannot be read fails by itself.
func TestAnUnreadableDocumentFailsItsUnitOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c := newCombiner(func(_ context.Context, owner string, units []Unit, _ func() []Unit) (map[string]unitAnswer, error) {
			<-gate
			answers := make(map[string]unitAnswer)
			for _, u := range units {
				if u.Request.ID == "3" {
					return nil, fault.Retryable("document_unreadable", keypackage.ErrUnreadable)
				}
				answers[u.ClaimID()] = unitAnswer{claim: keypackage.Claim{RequestID: u.Request.ID, Owner: owner}}
			}
			return answers, nil
		})
		for i := range 5 {
			go func() {
				a, err := c.answer(t.Context(), ask(numbered(i), 1))
				if bad := i == 3; errors.Is(err, keypackage.ErrUnreadable) != bad || err == nil && a.claim.RequestID != numbered(i) {
					t.Errorf("%d: %+v, %v", i, a, err)
				}
			}()
			synctest.Wait() // the first leads, the others wait
		}
		close(gate)
		synctest.Wait()
	})
}

// Whoever comes while a transaction loses its race is answered by the next attempt, as far as there is room.
func TestLosersTakeOthersAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost, calls := make(chan struct{}), 0
		c := newCombiner(func(_ context.Context, owner string, units []Unit, more func() []Unit) (map[string]unitAnswer, error) {
			calls++
			if calls == 1 {
				<-lost
				units = more()
			}
			answers := make(map[string]unitAnswer)
			for _, u := range units {
				answers[u.ClaimID()] = unitAnswer{claim: keypackage.Claim{RequestID: u.Request.ID, Owner: owner, Granted: len(units)}}
			}
			return answers, nil
		})
		var together atomic.Int64
		for i := range combineUnits + 10 {
			u := ask(numbered(i), 1)
			go func() {
				a, err := c.answer(t.Context(), u)
				if err != nil || a.claim.RequestID != u.Request.ID {
					t.Errorf("%s: %+v, %v", u.ClaimID(), a, err)
				}
				if err == nil && a.claim.Granted == combineUnits {
					together.Add(1)
				}
			}()
			synctest.Wait()
		}
		close(lost)
		synctest.Wait()
		if n := together.Load(); n != combineUnits || calls != 2 {
			t.Errorf("%d were answered together, in %d transactions", n, calls)
		}
	})
}
