// Package contention races claims against each other, and expiry against delivery, at full speed on the real Firestore
// emulator. Every race is run by two instances with connections of their own, and judged by what Firestore holds in the
// end. How long it took and how many races were lost on the way is logged for information; nothing depends on it.
package contention

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/fixture"
	"github.com/keypackage-delivery/keypackage-delivery/shared/claiming"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// world is one race: a database and two instances of the claim function on it.
type world struct {
	*fixture.DB
	t         *testing.T
	instances [2]*claiming.Claimer
	conflicts atomic.Int64
	published sync.Map // request ids
}

// generous limits stand in no race's way.
var generous = claiming.Limits{DeliveryTTL: 5 * time.Minute, PairLimitPerHour: 1000, OwnerBudgetPerHour: 1000}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := &world{DB: fixture.New(t), t: t}
	settings := claiming.Settings{
		Limits: generous, Mode: keypackage.ModeDeliver, MaxPerOwner: s.MaxPerOwner, RequestMaxAge: s.RequestMaxAge,
	}
	for i := range s.instances {
		s.instances[i] = claiming.New(&counting{s.Store(), &s.conflicts}, s, settings, time.Now)
	}
	return s
}

// PublishRequest implements claiming.Publisher.
func (s *world) PublishRequest(_ context.Context, a keypackage.Announcement) error {
	s.published.Store(a.RequestID, true)
	return nil
}

// counting counts the races that commits lose.
type counting struct {
	claiming.Store
	conflicts *atomic.Int64
}

func (c *counting) Commit(ctx context.Context, plan *claiming.Plan) error {
	err := c.Store.Commit(ctx, plan)
	if errors.Is(err, keypackage.ErrConflict) {
		c.conflicts.Add(1)
	}
	return err
}

// deliveryAttempts bounds how often the platform repeats an event. In the cloud it goes on for a day.
const deliveryAttempts = 50

// claim hands over the requests all at once, each to the given instances at the same moment, until every one has been
// claimed without an error: the platform repeats an event that was not acknowledged.
func (s *world) claim(requests []keypackage.RequestDocument, instancesOf func(i int) []*claiming.Claimer) {
	s.t.Helper()
	began := time.Now()
	start := make(chan struct{})
	var group sync.WaitGroup
	var repeated atomic.Int64
	for i, request := range requests {
		for _, instance := range instancesOf(i) {
			group.Go(func() {
				<-start
				var err error
				for range deliveryAttempts {
					if _, err = instance.Claim(s.t.Context(), request); err == nil {
						return
					}
					repeated.Add(1)
				}
				s.t.Errorf("request %s is never claimed: %v", request.ID, err)
			})
		}
	}
	close(start)
	group.Wait()
	s.t.Logf("%d requests in %v; %d races lost, %d events repeated",
		len(requests), time.Since(began).Round(time.Millisecond), s.conflicts.Load(), repeated.Load())
}

// one hands requests to the instances in turn.
func (s *world) one(i int) []*claiming.Claimer { return s.instances[i%2 : i%2+1] }

// both hands every request to both instances.
func (s *world) both(int) []*claiming.Claimer { return s.instances[:] }

// ask signs one request of each of n strangers for an owner.
func (s *world) ask(n int, q actors.Question) []keypackage.RequestDocument {
	s.t.Helper()
	requests := make([]keypackage.RequestDocument, n)
	for i := range requests {
		requests[i] = fixture.Request(s.t, actors.NewKey(), q)
	}
	return requests
}
