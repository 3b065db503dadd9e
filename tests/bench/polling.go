package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// pollInterval is that of the design which this system replaces.
const pollInterval = time.Second

// activeSessions is where that design's relay notes who is connected.
const activeSessions = "bench_active_sessions"

// poller is the design which this system replaces: every second a processor reads all pending deliveries and all active
// sessions, and sends what has a session. It is written as well as that design allows: sessions are read beside the
// deliveries, pushes go out at the same time, and the next poll follows on time whatever the last one took. The claim
// before it is ours in both designs, and so is the relay's endpoint.
type poller struct {
	db     *database
	client *relayapi.Client
	sends  errgroup.Group
}

// polled measures the polling design with the system's requesters and stock, at the levels up to 10 in flight, and next to
// it the system, asked in the same way.
func (b *bench) polled(ctx context.Context, s *system) error {
	t := b.report.table("path", "The design that polls every second, and the system, asked at random moments", quantiles...)
	t.note("Requesters ask up to a second after the last answer; in the table above they ask again at once.")
	for i, n := range b.sizes.polled {
		level := b.sizes.levels[i]
		b.progress("the system and the polling design, %d requesters", level)
		ours, err := b.fresh(ctx, unpunctual{s}, level, n)
		if err != nil {
			return err
		}
		old, err := b.poll(ctx, s, level, n)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d in flight", level)
		system, polling := part(ours, journey.whole).row(), part(old, journey.whole).row()
		t.add(name+": system", system...)
		t.add(name+": (Pub/Sub's hop)", part(ours, journey.message).row()...)
		t.add(name+": polling design", polling...)
		t.add(name+": polling / system", over(polling, system)...)
		if level == 10 {
			b.report.atLeast("polling design / system, p50, 10 in flight", polling[0]/system[0], 5)
			b.report.atLeast("polling design / system, p99, 10 in flight", polling[2]/system[2], 10)
		}
	}
	return nil
}

// poll runs n requests while the polling design delivers.
func (b *bench) poll(ctx context.Context, s *system, requesters, n int) (journeys []journey, err error) {
	if err := s.restock(ctx, n); err != nil {
		return nil, err
	}
	p, err := b.newPoller(ctx, s)
	if err != nil {
		return nil, err
	}
	defer p.db.client.Close()
	b.polling.open.Store(true)
	defer b.polling.open.Store(false)
	polling, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() { failed <- p.run(polling) }()
	defer func() { stop(); err = errors.Join(err, <-failed) }()
	settle()
	return run(ctx, unpunctual{s}, requesters, n)
}

// unpunctual makes requests at moments that have nothing to do with the last answer's. A requester who asks again as soon as
// one poll has answered would always wait for the whole interval, which is not what the design does to real ones.
type unpunctual struct{ design }

func (u unpunctual) request(ctx context.Context, requester int) (journey, error) {
	select {
	case <-ctx.Done():
		return journey{}, ctx.Err()
	case <-time.After(rand.N(pollInterval)):
		return u.design.request(ctx, requester)
	}
}

func (b *bench) newPoller(ctx context.Context, s *system) (*poller, error) {
	cfg := b.suite.Config()
	db, err := openDatabase(ctx, cfg.Project)
	if err != nil {
		return nil, err
	}
	client, err := relayapi.New(cfg.RelayDeliveryURL, cfg.RelayAudience)
	if err != nil {
		return nil, err
	}
	for _, r := range s.requesters {
		session := map[string]any{"pubkey": r.Pubkey, "active": true}
		if _, err := db.client.Collection(activeSessions).Doc(r.Pubkey).Set(ctx, session); err != nil {
			return nil, err
		}
	}
	p := &poller{db: db, client: client}
	p.sends.SetLimit(16)
	return p, nil
}

func (p *poller) run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.poll(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// poll sends everything that is pending to those who are connected.
func (p *poller) poll(ctx context.Context) error {
	var pending, sessions []*firestore.DocumentSnapshot
	var reads errgroup.Group
	reads.Go(func() (err error) {
		query := p.db.client.Collection(p.db.Collections.Deliveries).Where("state", "==", keypackage.StatePending)
		pending, err = query.Documents(ctx).GetAll()
		return err
	})
	reads.Go(func() (err error) {
		sessions, err = p.db.client.Collection(activeSessions).Where("active", "==", true).Documents(ctx).GetAll()
		return err
	})
	if err := reads.Wait(); err != nil {
		return err
	}
	active := make(map[string]bool, len(sessions))
	for _, snap := range sessions {
		active[snap.Ref.ID] = true
	}
	for _, snap := range pending {
		var d keypackage.Delivery
		if err := snap.DataTo(&d); err != nil {
			return err
		}
		if active[d.Requester] {
			p.sends.Go(func() error { return p.send(ctx, snap.Ref, d) })
		}
	}
	return p.sends.Wait()
}

func (p *poller) send(ctx context.Context, ref *firestore.DocumentRef, d keypackage.Delivery) error {
	d.ID = ref.ID
	results := p.client.Push(ctx, delivering.Push{
		RequestID: d.RequestID, Requester: d.Requester, ExpiresAt: d.ExpiresAt, Deliveries: []*keypackage.Delivery{&d},
	})
	if results.Of(d.ID) != keypackage.ResultDelivered {
		return results.Err
	}
	_, err := ref.Update(ctx, []firestore.Update{{Path: "state", Value: keypackage.StateDelivered}})
	return err
}
