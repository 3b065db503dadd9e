// Package outbox holds what is on its way to one client: a bounded queue of frames, whose sender waits while it is full, and next
// to it room for deliveries, which never wait (delivery.go).
package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// Bytes is how much may wait for one client; a frame that is larger waits alone. With it a thousand sessions, as many as one
	// Cloud Run instance takes, hold 64 MiB at the worst.
	Bytes = 64 << 10
	// leastWeight of a frame bounds how many may wait, however small.
	leastWeight = 1 << 10
	// maxDeliveries is how many may wait: what a request for 32 owners is granted at the usual `min` of 1, and its outcome.
	maxDeliveries = 40
	// Patience is how long one write may take before the client is given up. A phone that changes networks takes seconds; the
	// largest frame needs no more than 20 KB/s.
	Patience = 30 * time.Second
)

// Outbox is safe for concurrent use. The zero value is not usable.
type Outbox struct {
	room   *semaphore.Weighted // of Bytes, for frames
	wake   chan struct{}       // something has been queued
	closed chan struct{}       // when nothing will be written any more

	mu         sync.Mutex
	queue      []item
	deliveries int  // in the queue
	over       bool // nothing is queued any more
}

// item is a frame or a delivery that waits.
type item struct {
	frame    []byte
	delivery *Delivery // nil for a frame
}

// New returns an empty outbox. Run must be called.
func New() *Outbox {
	return &Outbox{room: semaphore.NewWeighted(Bytes), wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

func weight(frame []byte) int64 { return int64(max(leastWeight, min(len(frame), Bytes))) }

// Put waits for room and queues a frame. Frames leave in the order in which they were put. It fails when ctx ends; what is put
// after the client has gone is discarded.
func (o *Outbox) Put(ctx context.Context, frame []byte) error {
	if err := o.room.Acquire(ctx, weight(frame)); err != nil {
		return fmt.Errorf("no room for a frame: %w", err)
	}
	if !o.push(item{frame: frame}) {
		o.room.Release(weight(frame))
	}
	return nil
}

// Offer queues a delivery, or drops it at once if there is no room for it. It never waits. What was put before it leaves before
// it, what is put after it after it.
func (o *Outbox) Offer(d *Delivery) {
	if !o.push(item{delivery: d}) {
		d.Drop(NoSession)
	}
}

func (o *Outbox) push(next item) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || next.delivery != nil && o.deliveries == maxDeliveries {
		return false
	}
	if next.delivery != nil {
		o.deliveries++
	}
	o.queue = append(o.queue, next)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return true
}

// pop takes out what has waited longest.
func (o *Outbox) pop() (next item, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return item{}, false
	}
	next = o.queue[0]
	o.queue = slices.Delete(o.queue, 0, 1)
	if next.delivery != nil {
		o.deliveries--
	}
	return next, true
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
	send := func(frame []byte) error {
		within, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		return write(within, frame)
	}
	broken := false
	for ctx.Err() == nil {
		next, ok := o.pop()
		if !ok {
			select {
			case <-o.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err := o.perform(next, broken, send); err != nil {
			broken = true
			failed(err)
		}
	}
}

func (o *Outbox) perform(next item, broken bool, send func([]byte) error) error {
	switch {
	case next.delivery == nil:
		defer o.room.Release(weight(next.frame))
		if !broken {
			return send(next.frame)
		}
	case broken:
		next.delivery.Drop(NoSession)
	default:
		return next.delivery.perform(send)
	}
	return nil
}

// close drops the deliveries that are left.
func (o *Outbox) close() {
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	close(o.closed)
	for next, ok := o.pop(); ok; next, ok = o.pop() {
		if next.delivery != nil {
			next.delivery.Drop(NoSession)
		}
	}
}
