package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// nudgeTimeout bounds the publication of one nudge; if it fails, the scheduled function delivers within a minute.
const nudgeTimeout = 10 * time.Second

// nudger tells the functions that a requester is there to be delivered to.
type nudger struct {
	publish func(ctx context.Context, requester string) error
	log     *slog.Logger

	mu      sync.Mutex
	waiting map[string]bool // requesters whose publication has not begun
}

// nudge publishes in the background. It may be left out if one for the same requester is waiting, because that one will be
// acted on after the subscription that this one stands for was opened.
func (n *nudger) nudge(requester string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting[requester] {
		return
	}
	if n.waiting == nil {
		n.waiting = map[string]bool{}
	}
	n.waiting[requester] = true
	go n.run(requester)
}

func (n *nudger) run(requester string) {
	n.mu.Lock()
	delete(n.waiting, requester)
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), nudgeTimeout)
	defer cancel()
	if err := n.publish(ctx, requester); err != nil {
		n.log.Warn("nudge failed", "requester", requester, "error", err)
	}
}
