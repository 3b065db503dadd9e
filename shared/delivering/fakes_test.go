package delivering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var errAway = errors.New("the database is away")

// memory is a Store in maps that accuses whoever breaks its contract or the rules of a delivery's life.
type memory struct {
	*testing.T
	mu         sync.Mutex
	writes     int
	deliveries map[string]keypackage.Delivery
	tombstones map[string]bool
	records    []keypackage.Claim

	// fault is asked before (false) and after (true) the work of each call; what it returns is the call's error.
	fault func(call string, done bool) error
}

func newMemory(t *testing.T) *memory {
	return &memory{
		T: t, deliveries: make(map[string]keypackage.Delivery), tombstones: make(map[string]bool),
		fault: func(string, bool) error { return nil },
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

// add stores a delivery and names it in the record of each of its requests.
func (m *memory) add(d keypackage.Delivery) {
	m.write(&d)
	for _, id := range d.RequestIDs {
		i := slices.IndexFunc(m.records, func(r keypackage.Claim) bool { return r.RequestID == id })
		if i < 0 {
			i = len(m.records)
			m.records = append(m.records, keypackage.Claim{
				RequestID: id, Requester: d.Requester, Owner: "bob", Owners: []string{"bob"}, Status: keypackage.StatusFull,
				Authentic: true, CreatedAt: d.CreatedAt,
			})
		}
		r := &m.records[i]
		r.DeliveryIDs, r.Requested, r.Granted = append(r.DeliveryIDs, d.ID), r.Requested+1, r.Granted+1
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
) (records []keypackage.Claim, found []keypackage.StoredDelivery, err error) {
	err = m.during(ctx, "Announced", func() error {
		for _, r := range m.records {
			if _, named := a.Granted[r.Owner]; named && r.RequestID == a.RequestID {
				records = append(records, r)
			}
		}
		for _, ref := range a.Deliveries() {
			found = append(found, m.find(ref.ID)...)
		}
		return nil
	})
	return records, found, err
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

func (m *memory) RequestRecords(ctx context.Context, requestID string) (found []keypackage.Claim, err error) {
	err = m.during(ctx, "RequestRecords", func() error {
		for _, r := range m.records {
			if r.RequestID == requestID {
				found = append(found, r)
			}
		}
		return nil
	})
	return found, err
}

func (m *memory) Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) (found []keypackage.StoredDelivery, err error) {
	err = m.during(ctx, "Deliveries", func() error {
		for _, ref := range refs {
			found = append(found, m.find(ref.ID)...)
		}
		return nil
	})
	return found, err
}

func (m *memory) OpenFor(ctx context.Context, requester string, limit int) (found []keypackage.StoredDelivery, err error) {
	err = m.during(ctx, "OpenFor", func() error {
		for _, d := range m.deliveries {
			if d.Requester == requester && d.Open() && len(found) < limit {
				found = append(found, keypackage.StoredDelivery{Delivery: d, Tombstoned: m.tombstones[d.PackageID]})
			}
		}
		return nil
	})
	return found, err
}

func (m *memory) BeginPush(ctx context.Context, deliveries []*keypackage.Delivery) error {
	return m.during(ctx, "BeginPush", func() error {
		for _, d := range deliveries {
			before := m.deliveries[d.ID]
			if !before.Version.Equal(d.Version) || m.tombstones[d.PackageID] {
				return keypackage.ErrConflict
			}
			if d.State != keypackage.StateSending || d.PushNo != before.PushNo+1 || !before.Pushable(time.Now()) ||
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

// relay is a Relay that accuses whoever pushes what must not be pushed, and remembers the pushes.
type relay struct {
	*memory
	mu     sync.Mutex
	under  map[string]bool // deliveries under way
	pushes []Push
	seen   map[string]bool // deliveries that reached the requester

	// answer says what a push comes to; by default everything is delivered. It may take its time.
	answer func(ctx context.Context, push Push) Answer
}

func newRelay(m *memory) *relay {
	return &relay{memory: m, under: make(map[string]bool), seen: make(map[string]bool), answer: delivered}
}

func delivered(_ context.Context, push Push) Answer { return all("delivered")(nil, push) }

// all gives the same answer for every delivery.
func all(status string) func(context.Context, Push) Answer {
	return func(_ context.Context, push Push) Answer {
		statuses := make(map[string]string)
		for _, d := range push.Deliveries {
			statuses[d.ID] = status
		}
		return Answer{Answer: keypackage.AnswerResults, Statuses: statuses}
	}
}

// broken gives no answer for any delivery.
func broken(answer keypackage.Answer) func(context.Context, Push) Answer {
	return func(context.Context, Push) Answer { return Answer{Answer: answer, Err: errors.New("no answer")} }
}

func (r *relay) Push(ctx context.Context, push Push) Answer {
	begun := time.Now()
	r.mu.Lock()
	r.pushes = append(r.pushes, push)
	for _, d := range push.Deliveries {
		stored := r.get(d.ID)
		switch {
		case r.under[d.ID]:
			r.Errorf("%s is pushed twice at the same time", d.ID)
		case stored.PushNo != d.PushNo || (stored.State != keypackage.StateSending && stored.State != keypackage.StateDelivered):
			r.Errorf("%s is pushed in state %s, push %d by the writer of %d", d.ID, stored.State, stored.PushNo, d.PushNo)
		case !begun.Before(d.ExpiresAt), push.ExpiresAt.After(d.ExpiresAt), d.Requester != push.Requester, stored.Parked:
			r.Errorf("%s must not be pushed: %+v at %v", d.ID, push, begun)
		case !begun.Add(keypackage.PushTimeout).Before(stored.LeaseUntil):
			r.Errorf("%s may be under way when its lease has ended", d.ID)
		}
		r.under[d.ID] = true
	}
	answerOf := r.answer
	r.mu.Unlock()
	answer := answerOf(ctx, push)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range push.Deliveries {
		delete(r.under, d.ID)
		r.seen[d.ID] = r.seen[d.ID] || answer.Statuses[d.ID] == keypackage.ResultDelivered
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
