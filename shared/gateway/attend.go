package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// attendEvery is how often what is pending is looked for, for one requester: each look costs a query.
const attendEvery = time.Second

// attendant keeps Requests.Attend from being asked more often than that.
type attendant struct {
	mu      sync.Mutex
	again   map[string]bool // requesters attended to within the last second, and whether it is to be done again
	running int
	closed  bool
	idle    chan struct{} // closed when none runs any more; made by close
}

// attend has what is pending for these keys pushed, if one of the conditions names KeyPackages of others. It does not wait.
func (s *session) attend(keys []string, conditions []wire.Filter) {
	if !s.Ports.Serving() {
		return
	}
	for _, key := range keys {
		if awaitsKeyPackages(conditions, key) {
			s.attendant.attend(s.Gateway, key)
		}
	}
}

// awaitsKeyPackages reports whether a delivery to the requester, or the outcome of its request, could satisfy a filter that names its kind. It is never
// delivered its own KeyPackages, so an owner who looks at its stock awaits none.
func awaitsKeyPackages(conditions []wire.Filter, requester string) bool {
	for _, f := range conditions {
		authors, named := f.Authors()
		onlyOwn := named && len(authors) == 1 && authors[0] == requester
		if f.NamesAny(keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage, keypackage.KindOutcome) && !onlyOwn {
			return true
		}
	}
	return false
}

// attend begins at once, or, if that was done within the last second, when the second is over: however many subscriptions are
// opened meanwhile, that one look comes after all of them.
func (a *attendant) attend(g *Gateway, requester string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	if _, busy := a.again[requester]; busy {
		a.again[requester] = true
		return
	}
	if a.again == nil {
		a.again = map[string]bool{}
	}
	a.again[requester] = false
	a.running++
	go func() {
		defer a.done()
		g.guard(func() { a.run(g, requester) }, func() {})
	}()
	time.AfterFunc(attendEvery, func() { a.later(g, requester) })
}

// later does what was asked for meanwhile.
func (a *attendant) later(g *Gateway, requester string) {
	a.mu.Lock()
	again := a.again[requester]
	delete(a.again, requester)
	a.mu.Unlock()
	if again {
		a.attend(g, requester)
	}
}

func (a *attendant) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running--; a.running == 0 && a.idle != nil {
		close(a.idle)
	}
}

// close begins nothing any more and waits for what runs, or for ctx to end.
func (a *attendant) close(ctx context.Context) {
	a.mu.Lock()
	a.closed, a.idle = true, make(chan struct{})
	if a.running == 0 {
		close(a.idle)
	}
	a.mu.Unlock()
	select {
	case <-a.idle:
	case <-ctx.Done():
	}
}

func (a *attendant) run(g *Gateway, requester string) {
	ctx, cancel := context.WithTimeout(context.Background(), portTimeout)
	defer cancel()
	if err := g.Ports.Attend(ctx, requester); err != nil {
		g.Log.Error("attending failed", "requester", requester, "error", err)
	}
}
