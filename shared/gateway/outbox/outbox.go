// Package outbox holds what is on its way to one client: a bounded queue of frames, whose sender waits while it is full, and next
// to it room for deliveries, which never wait (delivery.go).
package outbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// Bytes is how much may wait for one client; a frame that is larger waits alone. With it a thousand sessions, as many as one
	// Cloud Run instance takes, hold 64 MiB at the worst.
	Bytes = 64 << 10
	// frames is how many may wait, however small. The channel's room is taken for the whole session.
	frames = 16
	// deliveries is how many may wait: what a request for 32 owners is granted at the usual `min` of 1, and its outcome.
	deliveries = 40
	// Patience is how long one write may take before the client is given up. A phone that changes networks takes seconds; the
	// largest frame needs no more than 20 KB/s.
	Patience = 30 * time.Second
)

// Outbox is safe for concurrent use. The zero value is not usable.
type Outbox struct {
	frames chan item
	room   *semaphore.Weighted // of Bytes
	urgent chan item
	queued atomic.Uint64
	closed chan struct{} // when nothing will be written any more
}

// item is a frame or a delivery that waits.
type item struct {
	turn     uint64 // what has the lower one goes first
	frame    []byte
	delivery *Delivery // nil for a frame
}

// New returns an empty outbox. Run must be called.
func New() *Outbox {
	return &Outbox{
		frames: make(chan item, frames), room: semaphore.NewWeighted(Bytes),
		urgent: make(chan item, deliveries), closed: make(chan struct{}),
	}
}

func weight(frame []byte) int64 { return int64(min(len(frame), Bytes)) }

// Put waits for room and queues a frame. Frames leave in the order in which they were put. It fails when ctx ends; what is put
// after the client has gone is discarded.
func (o *Outbox) Put(ctx context.Context, frame []byte) error {
	if err := o.room.Acquire(ctx, weight(frame)); err != nil {
		return fmt.Errorf("no room for a frame: %w", err)
	}
	select {
	case o.frames <- item{turn: o.queued.Add(1), frame: frame}:
		return nil
	case <-ctx.Done():
		o.room.Release(weight(frame))
		return fmt.Errorf("no room for a frame: %w", context.Cause(ctx))
	}
}

// Offer queues a delivery, or drops it at once if there is no room for it. It never waits. What
// was put before it leaves before it, what is put after it after it.
func (o *Outbox) Offer(d *Delivery) {
	select {
	case <-o.closed:
		d.Drop(NoSession)
		return
	default:
	}
	select {
	case o.urgent <- item{turn: o.queued.Add(1), delivery: d}:
	default:
		d.Drop(NoSession)
	}
}

// Flush waits until everything that was put has been written, or nothing is written any more, or ctx ends.
func (o *Outbox) Flush(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-o.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if o.room.Acquire(ctx, Bytes) == nil {
		o.room.Release(Bytes)
	}
}

// Run writes, one frame at a time, until ctx ends. After a write has failed it discards everything, so that nobody waits for a
// client that has gone; failed is called once.
func (o *Outbox) Run(ctx context.Context, write func(context.Context, []byte) error, failed func(error)) {
	defer o.close()
	broken := false
	send := func(frame []byte) error {
		within, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		return write(within, frame)
	}
	var heads [2]*item
	for o.fill(ctx, &heads) {
		switch next := first(&heads); {
		case next.delivery == nil && broken:
			o.room.Release(weight(next.frame))
		case broken:
			next.delivery.Drop(NoSession)
		default:
			if err := o.perform(next, send); err != nil {
				broken = true
				failed(err)
			}
		}
	}
	if d := heads[1]; d != nil {
		d.delivery.Drop(NoSession)
	}
}

// fill waits until something is to be written. Both queues are looked at, so that what came first is found.
func (o *Outbox) fill(ctx context.Context, heads *[2]*item) bool {
	if heads[0] == nil && heads[1] == nil {
		select {
		case <-ctx.Done():
			return false
		case frame := <-o.frames:
			heads[0] = &frame
		case delivery := <-o.urgent:
			heads[1] = &delivery
		}
	}
	for i, queue := range []chan item{o.frames, o.urgent} {
		if heads[i] == nil {
			select {
			case next := <-queue:
				heads[i] = &next
			default:
			}
		}
	}
	return ctx.Err() == nil
}

// first takes out what has waited longest.
func first(heads *[2]*item) *item {
	i := 0
	if heads[0] == nil || heads[1] != nil && heads[1].turn < heads[0].turn {
		i = 1
	}
	next := heads[i]
	heads[i] = nil
	return next
}

func (o *Outbox) perform(next *item, send func([]byte) error) error {
	if next.delivery != nil {
		return next.delivery.perform(send)
	}
	defer o.room.Release(weight(next.frame))
	return send(next.frame)
}

// close drops the deliveries that are left. One that is offered at this moment is dropped by whoever waits for it.
func (o *Outbox) close() {
	close(o.closed)
	for {
		select {
		case next := <-o.urgent:
			next.delivery.Drop(NoSession)
		default:
			return
		}
	}
}
