// Package outbox holds what is on its way to one client: a bounded queue of frames, whose sender waits while it is full, and next
// to it room for deliveries, which never wait (delivery.go).
package outbox

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// Bytes is how much may wait for one client; a frame that is larger waits alone. With it a thousand sessions, as many as one
	// Cloud Run instance takes, hold 64 MiB at the worst.
	Bytes = 64 << 10
	// frames is how many may wait, however small. The channel's room is taken for the whole session.
	frames = 64
	// deliveries is how many may wait: what a request for 32 owners is granted at the usual `min` of 1, and its outcome.
	deliveries = 40
	// Patience is how long one write may take before the client is given up. A phone that changes networks takes seconds; the
	// largest frame needs no more than 20 KB/s.
	Patience = 30 * time.Second
)

// Outbox is safe for concurrent use. The zero value is not usable.
type Outbox struct {
	frames chan []byte
	room   *semaphore.Weighted // of Bytes
	urgent chan *Delivery
	closed chan struct{} // when nothing will be written any more
}

// New returns an empty outbox. Run must be called.
func New() *Outbox {
	return &Outbox{
		frames: make(chan []byte, frames), room: semaphore.NewWeighted(Bytes),
		urgent: make(chan *Delivery, deliveries), closed: make(chan struct{}),
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
	case o.frames <- frame:
		return nil
	case <-ctx.Done():
		o.room.Release(weight(frame))
		return fmt.Errorf("no room for a frame: %w", context.Cause(ctx))
	}
}

// Offer queues a delivery, or drops it at once if there is no room for it. It never waits. A frame that is put after it leaves
// after it.
func (o *Outbox) Offer(d *Delivery) {
	select {
	case <-o.closed:
		d.Drop(NoSession)
		return
	default:
	}
	select {
	case o.urgent <- d:
	default:
		d.Drop(NoSession)
	}
}

// Flush waits until everything that was put has been written, or ctx ends.
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
	for ctx.Err() == nil {
		if err := o.next(ctx, send); err != nil {
			failed(err)
			o.discard(ctx)
		}
	}
}

// next writes one frame. Deliveries that were offered before the frame was put go first: whoever puts an EOSE behind a delivery
// relies on it.
func (o *Outbox) next(ctx context.Context, send func([]byte) error) error {
	select {
	case <-ctx.Done():
		return nil
	case d := <-o.urgent:
		return d.perform(send)
	case frame := <-o.frames:
		defer o.room.Release(weight(frame))
		for {
			select {
			case d := <-o.urgent:
				if err := d.perform(send); err != nil {
					return err
				}
				continue
			default:
			}
			return send(frame)
		}
	}
}

func (o *Outbox) discard(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-o.urgent:
			d.Drop(NoSession)
		case frame := <-o.frames:
			o.room.Release(weight(frame))
		}
	}
}

// close drops the deliveries that are left. One that is offered at this moment is dropped by whoever waits for it.
func (o *Outbox) close() {
	close(o.closed)
	for {
		select {
		case d := <-o.urgent:
			d.Drop(NoSession)
		default:
			return
		}
	}
}
