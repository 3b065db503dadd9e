package relay

import (
	"context"
	"sync/atomic"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// write is one frame on its way to one session. It is decided exactly once: either the session's writer begins it, and
// from then on the requester may have it, or somebody drops it, and then the requester certainly does not.
type write struct {
	// frame is called when the write's turn has come and decides what to send; a nil frame means that nothing may be
	// sent any more, for the reason that status gives.
	frame func() (frame []byte, status relayapi.Status)

	sent   func() // if not nil, called after the frame has been written
	state  atomic.Int32
	status relayapi.Status // set before done is closed
	done   chan struct{}
}

const (
	queued int32 = iota
	begun
	dropped
)

func newWrite(frame func() ([]byte, relayapi.Status)) *write {
	return &write{frame: frame, done: make(chan struct{})}
}

// perform sends the frame unless the write was dropped. Only the session's writer calls it.
func (w *write) perform(send func([]byte) error) {
	frame, why := w.frame()
	if frame == nil {
		w.drop(why)
		return
	}
	if !w.state.CompareAndSwap(queued, begun) {
		return
	}
	w.status = relayapi.Delivered
	if err := send(frame); err != nil {
		w.status = relayapi.Unknown // some of it may have left
	} else if w.sent != nil {
		w.sent()
	}
	close(w.done)
}

// drop gives up on a write that was not begun, and reports whether that was still possible.
func (w *write) drop(why relayapi.Status) bool {
	if !w.state.CompareAndSwap(queued, dropped) {
		return false
	}
	w.status = why
	close(w.done)
	return true
}

// inVain reports whether the write is known not to have reached, and never to reach, the client.
func (w *write) inVain() bool { return w.state.Load() == dropped }

// wait returns the status when there is one. When ctx ends first, a write that has not begun is dropped, and one that
// has is unknown.
func (w *write) wait(ctx context.Context) relayapi.Status {
	select {
	case <-w.done:
	case <-ctx.Done():
		w.drop(relayapi.NoSession)
	}
	select {
	case <-w.done:
		return w.status
	default:
		return relayapi.Unknown
	}
}
