package simulation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind is a way in which a call goes wrong.
type Kind string

// The kinds. What a library repeats by itself (codes.Unavailable) is told apart from what it hands on, because both happen.
const (
	Refused     Kind = "refused"     // an error instead of the effect
	Lost        Kind = "lost answer" // the effect, and an error instead of the answer
	Timeout     Kind = "timeout"     // no effect, and no answer until the caller's time was over
	Crash       Kind = "crash"       // the effect, and then the caller is no more
	Unavailable Kind = "unavailable" // like Refused, but the client library tries again
	Repeated    Kind = "repeated"    // like Lost, but the client library tries again
)

// Kinds lists all of them.
var Kinds = []Kind{Refused, Lost, Timeout, Crash, Unavailable, Repeated}

// KindsOf returns the kinds that make a difference to a call. One that only reads has no effect that could take place
// without its answer, and is the same when a library has repeated it.
func KindsOf(p Point) []Kind {
	if p.reads() {
		return []Kind{Refused, Timeout, Crash}
	}
	return Kinds
}

// UncertainKindsOf returns those of them after which the caller does not know what has happened.
func UncertainKindsOf(p Point) []Kind {
	if p.reads() {
		return nil
	}
	return []Kind{Lost, Crash}
}

// Point names a call of an invocation: the N-th (from 0) of that name. Calls of the same name may run concurrently; which
// of them is the N-th is then open.
type Point struct {
	Name string
	N    int
}

func (p Point) reads() bool {
	return strings.HasPrefix(p.Name, "Run") || strings.HasPrefix(p.Name, "BatchGetDocuments") // RunQuery, RunAggregationQuery
}

func (p Point) String() string { return fmt.Sprintf("%s #%d", p.Name, p.N+1) }

// Errors that calls end with.
var (
	ErrCrashed = status.Error(codes.Canceled, "the caller has crashed")
	errRefused = status.Error(codes.Unknown, "refused on purpose")
	errAgain   = status.Error(codes.Unavailable, "unavailable on purpose")
	errTimeout = status.Error(codes.DeadlineExceeded, "no answer in time")
)

// Invocation is one run of a function as its environment sees it: a sequence of external calls. It is safe for concurrent
// use, and serves once.
type Invocation struct {
	// Fault, if Kind is set, strikes the call At.
	Fault struct {
		At   Point
		Kind Kind
	}
	// Amid, if Do is set, is what happens right before the call At. Nothing happens inside a transaction that has read: the
	// database's locks would keep the others waiting anyway.
	Amid struct {
		At Point
		Do func()
	}
	// WaitsForLease says what the invocation does that finds somebody else's push under way: it waits for the end of the
	// lease, or until its own time is over.
	WaitsForLease bool

	pass         func(time.Duration) // makes the time pass until the caller gives up
	calls        *calls
	mu           sync.Mutex
	cancel       context.CancelFunc
	seen         map[string]int
	order        []Point
	struck       bool
	interrupted  atomic.Bool
	dead         bool
	crashed      chan struct{}
	transactions map[string]func()
}

type contextKey struct{}

// Begin returns the context of the invocation. The caller must call End. pass is called when a fault makes the caller wait until
// its time is over, with how long that takes.
func (i *Invocation) Begin(ctx context.Context, pass func(time.Duration), calls *calls) context.Context {
	i.pass, i.calls = pass, calls
	ctx, i.cancel = context.WithCancel(context.WithValue(ctx, contextKey{}, i))
	i.seen, i.crashed, i.transactions = make(map[string]int), make(chan struct{}), make(map[string]func())
	return ctx
}

// invocationOf returns the invocation that a context belongs to, or nil.
func invocationOf(ctx context.Context) *Invocation {
	i, _ := ctx.Value(contextKey{}).(*Invocation)
	return i
}

// End frees what the invocation has left: a crashed caller's transactions are rolled back, as the database does after
// their idle time.
func (i *Invocation) End() {
	i.cancel()
	i.mu.Lock()
	left := i.transactions
	i.transactions = nil
	i.mu.Unlock()
	for _, rollback := range left {
		rollback()
	}
}

// Crashed is closed when the invocation crashes. What it does afterwards, in its own time, has no effect.
func (i *Invocation) Crashed() <-chan struct{} { return i.crashed }

func (i *Invocation) isDead() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dead
}

// Calls returns the calls so far, in the order in which they began.
func (i *Invocation) Calls() []Point {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]Point(nil), i.order...)
}

// Struck reports whether the planned fault has happened.
func (i *Invocation) Struck() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.struck
}

// Interrupted reports whether Amid has happened.
func (i *Invocation) Interrupted() bool { return i.interrupted.Load() }

// timeouts are those of the callers: 60 s for a call of Firestore, less for the others.
const (
	databaseTimeout = 60 * time.Second
	otherTimeout    = 10 * time.Second
)

// Call makes one external call, or makes it go wrong. do has the effect and returns the answer's error.
func (i *Invocation) Call(name string, do func() error) error {
	return i.call(name, otherTimeout, false, do)
}

func (i *Invocation) call(name string, timeout time.Duration, locked bool, do func() error) error {
	point, kind, err := i.begin(name)
	if err != nil {
		return err
	}
	if i.Amid.Do != nil && i.Amid.At == point && !locked {
		i.interrupted.Store(true)
		i.Amid.Do()
	}
	switch kind {
	case Refused:
		return errRefused
	case Unavailable:
		return errAgain
	case Timeout:
		i.pass(timeout)
		i.cancel()
		return errTimeout
	}
	if !i.leaves() {
		return ErrCrashed
	}
	defer i.calls.add(i, -1)
	err = do()
	switch kind {
	case Lost:
		if err == nil {
			err = errRefused
		}
	case Repeated:
		err = errAgain
	case Crash:
		i.die()
		err = ErrCrashed
	}
	return err
}

// begin counts the call and says what happens to it.
func (i *Invocation) begin(name string) (Point, Kind, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead {
		return Point{}, "", ErrCrashed
	}
	point := Point{name, i.seen[name]}
	i.seen[name]++
	i.order = append(i.order, point)
	if i.Fault.Kind == "" || i.Fault.At != point {
		return point, "", nil
	}
	i.struck = true
	return point, i.Fault.Kind, nil
}

// leaves reports whether the caller is still there to make the call, which is under way from now on.
func (i *Invocation) leaves() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.dead {
		i.calls.add(i, 1)
	}
	return !i.dead
}

func (i *Invocation) die() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dead = true
	i.cancel()
	close(i.crashed)
}

// Abandon ends the invocation's time from outside, as the platform does.
func (i *Invocation) Abandon() { i.cancel() }

// calls counts the calls that are under way. What a caller knows may be the effect of another's, which has not returned. It
// is safe for concurrent use.
type calls struct {
	mu    sync.Mutex
	ended *sync.Cond
	of    map[*Invocation]int
}

func newCalls() *calls {
	c := &calls{of: make(map[*Invocation]int)}
	c.ended = sync.NewCond(&c.mu)
	return c
}

func (c *calls) add(i *Invocation, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[i] += n; c.of[i] == 0 {
		delete(c.of, i)
		c.ended.Broadcast()
	}
}

// await waits until none is under way but those of one invocation; nil is none.
func (c *calls) await(but *Invocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for others := func() bool { return len(c.of) > 1 || len(c.of) == 1 && c.of[but] == 0 }; others(); {
		c.ended.Wait()
	}
}
