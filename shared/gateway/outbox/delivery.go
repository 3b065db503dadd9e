package outbox

import (
	"context"
	"sync/atomic"
)

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
	frame  func() ([]byte, Status)
	sent   func()
	state  atomic.Int32
	status Status // set before done is closed
	done   chan struct{}
}

const (
	queued int32 = iota
	begun
	dropped
)

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
	if !d.state.CompareAndSwap(queued, begun) {
		return nil
	}
	err := send(frame)
	d.status = Delivered
	if err != nil {
		d.status = Unknown // some of it may have left
	} else {
		d.sent()
	}
	close(d.done)
	return err
}

// Drop gives up a delivery that was not begun.
func (d *Delivery) Drop(why Status) {
	if d.state.CompareAndSwap(queued, dropped) {
		d.status = why
		close(d.done)
	}
}

// InVain reports whether the delivery is known not to have reached, and never to reach, the client.
func (d *Delivery) InVain() bool { return d.state.Load() == dropped }

// Wait returns the status when there is one. When ctx ends first, a delivery that has not begun is dropped, and one that has is
// unknown.
func (d *Delivery) Wait(ctx context.Context) Status {
	select {
	case <-d.done:
	case <-ctx.Done():
		d.Drop(NoSession)
	}
	select {
	case <-d.done:
		return d.status
	default:
		return Unknown
	}
}
