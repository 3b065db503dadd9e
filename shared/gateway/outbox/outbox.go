// Package outbox holds what is on its way to one client: a bounded queue of frames, whose sender waits while it is full, and among
// them deliveries, which have room of their own and never wait.
package outbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// Bytes is how much may wait for one client. With it a thousand sessions, as many as one Cloud Run instance takes, hold 64 MiB
	// at the worst.
	Bytes = 64 << 10
	// Frames is how many may wait, however small.
	Frames = 64
	// maxDeliveries is how many may wait: what a request for 32 owners is granted at the usual `min` of 1, and its outcome.
	maxDeliveries = 40
	// Patience is how long one write may take before the client is given up. A phone that changes networks takes seconds; the
	// largest frame needs no more than 20 KB/s.
	Patience = 30 * time.Second
)

// Weight is how much of Bytes a frame takes; one that is larger waits alone.
func Weight(frame []byte) int64 { return int64(max(Bytes/Frames, min(len(frame), Bytes))) }

// Status says what became of a delivery. The values are those of the delivery endpoint.
type Status string

// What can become of a delivery in a session.
const (
	Delivered      Status = "delivered"       // the frame was written
	NoSession      Status = "no_session"      // nothing was written, and nothing will be
	NoSubscription Status = "no_subscription" // the same: no open subscription asks for it
	Unknown        Status = "unknown"         // a write was begun and not finished
)

// Delivery is one frame on its way to one client. It is decided exactly once: either the outbox begins to write it, and from
// then on the client may have it, or somebody drops it, and then the client certainly does not have it. All methods are safe for
// concurrent use.
type Delivery struct {
	frame   func() ([]byte, Status)
	sent    func()
	release func()       // of its room in the outbox
	status  atomic.Value // a Status; nil before it is decided
	done    chan struct{}
}

// NewDelivery returns a delivery. frame is called when its turn has come and decides what is written; without a frame nothing
// is, for the reason that it gives. sent is called when the frame has been written.
func NewDelivery(frame func() ([]byte, Status), sent func()) *Delivery {
	return &Delivery{frame: frame, sent: sent, done: make(chan struct{})}
}

// perform writes the frame unless the delivery was dropped. The error is that of the write.
func (d *Delivery) perform(send func([]byte) error) error {
	frame, why := d.frame()
	if frame == nil {
		d.Drop(why)
		return nil
	}
	if !d.status.CompareAndSwap(nil, Unknown) { // some of it may have left
		return nil
	}
	defer close(d.done)
	if err := send(frame); err != nil {
		return err
	}
	d.sent()
	d.status.Store(Delivered)
	return nil
}

// Drop gives up a delivery that was not begun.
func (d *Delivery) Drop(why Status) {
	if d.status.CompareAndSwap(nil, why) {
		close(d.done)
	}
}

// InVain reports whether the delivery is known not to have reached, and never to reach, the client.
func (d *Delivery) InVain() bool {
	status := d.status.Load()
	return status == NoSession || status == NoSubscription
}

// Wait returns the status when there is one. When ctx ends first, a delivery that has not begun is dropped, and one that has is
// unknown.
func (d *Delivery) Wait(ctx context.Context) Status {
	select {
	case <-d.done:
	case <-ctx.Done():
		d.Drop(NoSession)
	}
	return d.status.Load().(Status)
}

// Outbox is safe for concurrent use. The zero value is not usable.
type Outbox struct {
	room       *semaphore.Weighted // of Bytes, for frames
	deliveries *semaphore.Weighted // of maxDeliveries

	mu    sync.Mutex
	over  bool           // nothing is queued any more
	queue chan *Delivery // has room for all that the semaphores let in; a frame is a delivery that nobody waits for
}

// New returns an empty outbox. Run must be called.
func New() *Outbox {
	return &Outbox{
		room: semaphore.NewWeighted(Bytes), deliveries: semaphore.NewWeighted(maxDeliveries),
		queue: make(chan *Delivery, Frames+maxDeliveries),
	}
}

// Put waits for room and queues a frame. It fails when ctx ends; what is put after the client has gone is discarded.
func (o *Outbox) Put(ctx context.Context, frame []byte) error {
	if err := o.room.Acquire(ctx, Weight(frame)); err != nil {
		return err
	}
	d := NewDelivery(func() ([]byte, Status) { return frame, Delivered }, func() {})
	o.push(d, func() { o.room.Release(Weight(frame)) })
	return nil
}

// Offer queues a delivery, or drops it at once if there is no room for it. It never waits. Frames and deliveries leave in the order
// in which they came.
func (o *Outbox) Offer(d *Delivery) {
	if !o.deliveries.TryAcquire(1) {
		d.Drop(NoSession)
		return
	}
	o.push(d, func() { o.deliveries.Release(1) })
}

func (o *Outbox) push(d *Delivery, release func()) {
	d.release = release
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		d.finish()
		return
	}
	o.queue <- d
}

// finish drops what was not begun, and frees its room.
func (d *Delivery) finish() {
	d.Drop(NoSession)
	d.release()
}

// Flush waits until everything that was put has been written or discarded, or ctx ends.
func (o *Outbox) Flush(ctx context.Context) {
	if o.room.Acquire(ctx, Bytes) == nil {
		o.room.Release(Bytes)
	}
}

// Run writes, one frame at a time, until ctx ends. After a write has failed it discards everything, so that nobody waits for a
// client that has gone; failed is called once.
func (o *Outbox) Run(ctx context.Context, write func(context.Context, []byte) error, failed func(error)) {
	defer o.close()
	send := func(frame []byte) error {
		within, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		return write(within, frame)
	}
	for broken := false; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case d := <-o.queue:
			if !broken {
				if err := d.perform(send); err != nil {
					broken = true
					failed(err)
				}
			}
			d.finish()
		}
	}
}

// close discards what is left.
func (o *Outbox) close() {
	o.mu.Lock()
	o.over = true
	close(o.queue)
	o.mu.Unlock()
	for d := range o.queue {
		d.finish()
	}
}
