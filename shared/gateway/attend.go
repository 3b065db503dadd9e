package gateway

import (
	"context"
	"slices"
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
	closed  bool
	running sync.WaitGroup
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

// awaitsKeyPackages reports whether a delivery to the requester, or the outcome of its request, could satisfy a filter that names
// its kind. It is never delivered its own KeyPackages, so an owner who looks at its stock awaits none.
func awaitsKeyPackages(conditions []wire.Filter, requester string) bool {
	return slices.ContainsFunc(conditions, func(f wire.Filter) bool {
		authors, _ := f.Authors()
		onlyOwn := slices.Equal(authors, []string{requester})
		return f.NamesAny(keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage, keypackage.KindOutcome) && !onlyOwn
	})
}

// attend begins at once, or, if that was done within the last second, when the second is over: however many subscriptions are
// opened meanwhile, that one look comes after all of them.
func (a *attendant) attend(g *Gateway, requester string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, busy := a.again[requester]
	if a.again == nil {
		a.again = map[string]bool{}
	}
	if !a.closed {
		a.again[requester] = busy
	}
	if busy || a.closed {
		return
	}
	a.running.Go(func() {
		g.guard(func() {
			ctx, cancel := context.WithTimeout(context.Background(), portTimeout)
			defer cancel()
			if err := g.Ports.Attend(ctx, requester); err != nil {
				g.Log.Error("attending failed", "requester", requester, "error", err)
			}
		}, func() {})
	})
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

// close begins nothing any more and waits for what runs, or for ctx to end.
func (a *attendant) close(ctx context.Context) {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	await(ctx, a.running.Wait)
}
