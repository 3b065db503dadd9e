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
	again   map[string]bool // requesters attended to within the last second, and whether it is to be done again; nil after the end
	running sync.WaitGroup
}

// attend has what is pending for these keys pushed, if a delivery, or the outcome of a request, could satisfy one of the conditions
// that names its kind. Nobody is delivered her own KeyPackages, so an owner who looks at her stock awaits none. It does not wait.
func (s *session) attend(keys []string, conditions []wire.Filter) {
	for _, key := range keys {
		awaits := func(f wire.Filter) bool {
			onlyOwn := slices.Equal(f.Authors, []string{key})
			return f.Names(keypackage.KindKeyPackage, keypackage.KindAddressableKeyPackage, keypackage.KindOutcome) && !onlyOwn
		}
		if s.Ports.Serving() && slices.ContainsFunc(conditions, awaits) {
			s.attendTo(key)
		}
	}
}

// attendTo begins at once, or, if that was done within the last second, when the second is over: however many subscriptions are
// opened meanwhile, that one look comes after all of them.
func (g *Gateway) attendTo(requester string) {
	a := &g.attendant
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.again == nil {
		return
	}
	_, busy := a.again[requester]
	a.again[requester] = busy
	if busy {
		return
	}
	look := func() {
		ctx, cancel := context.WithTimeout(context.Background(), portTimeout)
		defer cancel()
		if err := g.Ports.Attend(ctx, requester); err != nil {
			g.Log.Error("attending failed", "requester", requester, "error", err)
		}
	}
	a.running.Go(func() { g.guard(look, func() {}) })
	time.AfterFunc(attendEvery, func() {
		a.mu.Lock()
		again := a.again[requester]
		delete(a.again, requester)
		a.mu.Unlock()
		if again {
			g.attendTo(requester)
		}
	})
}

// close begins nothing any more and waits for what runs, or for ctx to end.
func (a *attendant) close(ctx context.Context) {
	a.mu.Lock()
	a.again = nil
	a.mu.Unlock()
	await(ctx, a.running.Wait)
}
