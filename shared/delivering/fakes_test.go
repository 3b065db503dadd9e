package delivering

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var (
	errAway     = errors.New("the database is away")
	errNoAnswer = errors.New("no answer")
)

// memory is a Store in maps that accuses whoever breaks its contract or the rules of a delivery's life.
type memory struct {
	*testing.T
	mu         sync.Mutex
	writes     int
	deliveries map[string]keypackage.Delivery
	tombstones map[string]bool
	answers    map[string]keypackage.Answer // by request
	read       int                          // deliveries, altogether
	largest    int                          // deliveries that one call returned

	// fault is asked before (false) and after (true) the work of each call; what it returns is the call's error.
	fault func(call string, done bool) error
}

func newMemory(t *testing.T) *memory {
	return &memory{
		T: t, deliveries: make(map[string]keypackage.Delivery), tombstones: make(map[string]bool),
		answers: make(map[string]keypackage.Answer),
		fault:   func(string, bool) error { return nil },
	}
}

func (m *memory) during(ctx context.Context, call string, work func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.fault(call, false)); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	return m.fault(call, true)
}

// add stores a delivery and names it in the claim of each of its requests.
func (m *memory) add(d keypackage.Delivery) {
	m.write(&d)
	for _, id := range d.RequestIDs {
		claim, ok := m.answers[id].Claim("bob")
		if !ok {
			claim = keypackage.Claim{
				RequestID: id, Requester: d.Requester, Owner: "bob", Owners: []string{"bob"}, Status: keypackage.StatusFull,
				Authentic: true, CreatedAt: d.CreatedAt,
			}
		}
		claim.DeliveryIDs, claim.Requested, claim.Granted = append(claim.DeliveryIDs, d.ID), claim.Requested+1, claim.Granted+1
		m.answers[id] = keypackage.Answer{Claims: []keypackage.Claim{claim}}
	}
}

func (m *memory) write(d *keypackage.Delivery) {
	m.writes++
	d.Version = time.Unix(int64(m.writes), 0)
	stored := *d
	stored.RequestIDs = slices.Clone(d.RequestIDs)
	m.deliveries[d.ID] = stored
}

// change lets somebody else change a delivery.
func (m *memory) change(id string, edit func(*keypackage.Delivery)) {
	d := m.deliveries[id]
	edit(&d)
	m.write(&d)
}

func (m *memory) get(id string) keypackage.Delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.deliveries[id]
}

func (m *memory) Announced(
	ctx context.Context, a keypackage.Announcement,
) (answer keypackage.Answer, found []keypackage.StoredDelivery, err error) {
	err = m.during(ctx, "Announced", func() error {
		for _, claim := range m.answers[a.RequestID].Claims {
			if _, named := a.Granted[claim.Owner]; named {
				answer.Claims = append(answer.Claims, claim)
			}
		}
		for _, ref := range a.Deliveries() {
			found = append(found, m.find(ref.ID)...)
		}
		return nil
	})
	return answer, unaware(found), err
}

// unaware forgets what is not looked for.
func unaware(found []keypackage.StoredDelivery) []keypackage.StoredDelivery {
	for i := range found {
		found[i].Tombstoned = false
	}
	return found
}

// refs names all deliveries.
func (m *memory) refs() (refs []keypackage.DeliveryRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.deliveries {
		refs = append(refs, d.Ref())
	}
	return refs
}

// find needs the lock.
func (m *memory) find(id string) []keypackage.StoredDelivery {
	d, ok := m.deliveries[id]
	if !ok {
		return nil
	}
	d.RequestIDs = slices.Clone(d.RequestIDs)
	return []keypackage.StoredDelivery{{Delivery: d, Tombstoned: m.tombstones[d.PackageID]}}
}

func (m *memory) Answer(ctx context.Context, requestID string) (answer keypackage.Answer, err error) {
	err = m.during(ctx, "Answer", func() error {
		answer = m.answers[requestID]
		return nil
	})
	return answer, err
}

func (m *memory) Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) (found []keypackage.StoredDelivery, err error) {
	err = m.during(ctx, "Deliveries", func() error {
		for _, ref := range slices.Backward(refs) { // any order will do
			found = append(found, m.find(ref.ID)...)
		}
		m.read, m.largest = m.read+len(found), max(m.largest, len(found))
		return nil
	})
	return found, err
}

func (m *memory) OpenFor(
	ctx context.Context, requester, after string, limit int,
) (found []keypackage.StoredDelivery, err error) {
	err = m.during(ctx, "OpenFor", func() error {
		for _, id := range slices.Sorted(maps.Keys(m.deliveries)) {
			if d := m.deliveries[id]; d.Requester == requester && d.Open() && id > after && len(found) < limit {
				found = append(found, m.find(id)...)
			}
		}
		m.read, m.largest = m.read+len(found), max(m.largest, len(found))
		return nil
	})
	return unaware(found), err
}

func (m *memory) BeginPush(ctx context.Context, deliveries []*keypackage.Delivery) error {
	return m.during(ctx, "BeginPush", func() error {
		for _, d := range deliveries {
			before := m.deliveries[d.ID]
			if !before.Version.Equal(d.Version) || m.tombstones[d.PackageID] {
				return keypackage.ErrConflict
			}
			if d.LeaseBy == "" || d.State != keypackage.StateSending || d.PushNo != before.PushNo+1 || !before.Pushable(time.Now()) ||
				(before.State == keypackage.StateSending && !d.ExposureUnknown) {
				m.Errorf("begun: %+v over %+v", d, before)
			}
		}
		for _, d := range deliveries {
			m.write(d)
		}
		return nil
	})
}

func (m *memory) SaveResults(ctx context.Context, deliveries []*keypackage.Delivery) error {
	return m.during(ctx, "SaveResults", func() error {
		for _, d := range deliveries {
			before := m.deliveries[d.ID]
			if !before.Version.Equal(d.Version) {
				return keypackage.ErrConflict
			}
			if (!before.Open() && before.State != d.State) || (before.ExposureUnknown && !d.ExposureUnknown) {
				m.Errorf("saved: %+v over %+v", d, before)
			}
		}
		for _, d := range deliveries {
			m.write(d)
		}
		return nil
	})
}

// faulty returns a fault: a call fails that many times, before or after its work.
func faulty(call string, done bool, failure error, times int) func(string, bool) error {
	return func(name string, after bool) error {
		if name != call || after != done || times == 0 {
			return nil
		}
		times--
		return failure
	}
}

// relay is a Relay that accuses whoever pushes what must not be pushed, and remembers the pushes.
type relay struct {
	*memory
	mu     sync.Mutex
	under  map[string]bool // deliveries under way
	pushes []Push
	seen   map[string]bool // deliveries that reached the requester

	// answer says what a push comes to; by default everything is delivered. It may take its time.
	answer func(ctx context.Context, push Push) Results
}

func newRelay(m *memory) *relay {
	return &relay{memory: m, under: make(map[string]bool), seen: make(map[string]bool), answer: delivered}
}

func delivered(_ context.Context, push Push) Results {
	return all(keypackage.ResultDelivered)(nil, push)
}

// all gives the same answer for every delivery.
func all(result keypackage.PushResult) func(context.Context, Push) Results {
	return func(_ context.Context, push Push) Results {
		each := make(map[string]keypackage.PushResult)
		for _, d := range push.Deliveries {
			each[d.ID] = result
		}
		return Results{Each: each}
	}
}

// failing gives no answer for any delivery.
func failing(whole keypackage.PushResult) func(context.Context, Push) Results {
	return func(context.Context, Push) Results { return Results{Whole: whole, Err: errNoAnswer} }
}

func (r *relay) Push(ctx context.Context, push Push) Results {
	begun := time.Now()
	ends, bounded := ctx.Deadline()
	if !bounded {
		r.Error("a push without an end")
	}
	r.mu.Lock()
	r.pushes = append(r.pushes, push)
	for _, d := range push.Deliveries {
		stored := r.get(d.ID)
		switch {
		case !begun.Before(d.ExpiresAt), push.ExpiresAt.After(d.ExpiresAt), d.Requester != push.Requester, stored.Parked:
			r.Errorf("%s must not be pushed: %+v at %v", d.ID, push, begun)
		case d.State == keypackage.StateDelivered && stored.State == d.State: // sent again, by anybody
		case r.under[d.ID]:
			r.Errorf("%s is pushed twice at the same time", d.ID)
		case stored.PushNo != d.PushNo || (stored.State != keypackage.StateSending && stored.State != keypackage.StateDelivered):
			r.Errorf("%s is pushed in state %s, push %d by the writer of %d", d.ID, stored.State, stored.PushNo, d.PushNo)
		case stored.State == keypackage.StateSending && !ends.Before(stored.LeaseUntil):
			r.Errorf("%s may be under way until %v, when its lease has ended", d.ID, ends)
		}
		r.under[d.ID] = r.under[d.ID] || d.State == keypackage.StateSending
	}
	answerOf := r.answer
	r.mu.Unlock()
	answer := answerOf(ctx, push)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range push.Deliveries {
		if d.State == keypackage.StateSending {
			delete(r.under, d.ID)
		}
		r.seen[d.ID] = r.seen[d.ID] || answer.Each[d.ID] == keypackage.ResultDelivered
	}
	return answer
}

// delivery returns a pending delivery for Alice's request that was claimed now.
func delivery(n int, request string, edits ...func(*keypackage.Delivery)) keypackage.Delivery {
	id := fmt.Sprintf("k%02d", n)
	now := time.Now()
	d := keypackage.Delivery{
		ID: request + "_" + id, PackageID: id, Requester: "alice", Owner: "bob", RequestID: request, RequestIDs: []string{request},
		Package: keypackage.Document{"event": "the event of " + id}, PackageExpires: now.Add(time.Hour), RequestedAt: now, CreatedAt: now,
		ExpiresAt: now.Add(5 * time.Minute), State: keypackage.StatePending,
	}
	for _, edit := range edits {
		edit(&d)
	}
	return d
}
