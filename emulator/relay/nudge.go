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

	mu    sync.Mutex
	again map[string]bool // requesters for whom a nudge is being published, and whether another must follow
}

// nudge publishes in the background. However many nudges for one requester come while one is being published, one more
// follows: it is acted on after the subscriptions that all of them stand for were opened.
func (n *nudger) nudge(requester string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, busy := n.again[requester]; busy {
		n.again[requester] = true
		return
	}
	if n.again == nil {
		n.again = map[string]bool{}
	}
	n.again[requester] = false
	go n.run(requester)
}

func (n *nudger) run(requester string) {
	for {
		n.publishOne(requester)
		if !n.another(requester) {
			return
		}
	}
}

func (n *nudger) publishOne(requester string) {
	ctx, cancel := context.WithTimeout(context.Background(), nudgeTimeout)
	defer cancel()
	if err := n.publish(ctx, requester); err != nil {
		n.log.Warn("nudge failed", "requester", requester, "error", err)
	}
}

// another reports whether one more must follow; if not, the requester is done with.
func (n *nudger) another(requester string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.again[requester] {
		n.again[requester] = false
		return true
	}
	delete(n.again, requester)
	return false
}
