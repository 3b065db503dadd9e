package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/firestore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// backlog measures claim and push beside many pending deliveries of others, next to what each reads first.
func (b *bench) backlog(ctx context.Context) error {
	db, err := newDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.drop(ctx)
	t := b.report.table("backlog", "A claim and a push beside pending deliveries of others (one at a time)",
		"claim p50 ms", "claim p99 ms", "its query p50", "push p50 ms", "push p99 ms", "its reads p50")
	before, err := b.besides(ctx, db, t, 0)
	if err != nil {
		return err
	}
	b.progress("%d pending deliveries", b.sizes.backlog)
	if err := db.putDeliveries(ctx, b.sizes.backlog, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	after, err := b.besides(ctx, db, t, b.sizes.backlog)
	if err != nil {
		return err
	}
	grown := over(after, before)
	t.add("growth", grown...)
	t.note("The push is the whole of DeliverKeyPackages with a relay that answers at once.")
	b.report.atMost("claim's growth over its bare query's, with the backlog", grown[0]/grown[2], 1.5)
	b.report.atMost("push's growth over its bare reads', with the backlog", grown[3]/grown[5], 1.5)
	return nil
}

func (b *bench) besides(ctx context.Context, db *database, t *Table, others int) ([]float64, error) {
	n := b.sizes.backlogTimes
	owners, err := db.newOwners(ctx, n, packagesPerOwner)
	if err != nil {
		return nil, err
	}
	requests, err := db.newRequests(ctx, n, owners)
	if err != nil {
		return nil, err
	}
	published := &announced{}
	claimer := db.claimerTo(db.store(), published)
	deliverer := delivering.New(db.store(), pleased{}, keypackage.ModeDeliver, time.Now)
	var claims, stock, pushes, reads sample
	settle()
	for i, request := range requests {
		for _, step := range []struct {
			into *sample
			do   func() error
		}{
			{&stock, func() error { return db.bareQuery(ctx, owners[i]) }},
			{&claims, func() error { _, err := claimer.Claim(ctx, request); return err }},
			{&reads, func() error { return db.bareReads(ctx, published.last) }},
			{&pushes, func() error { _, err := deliverer.ForRequest(ctx, published.last); return err }},
		} {
			took, err := timed(step.do)
			if err != nil {
				return nil, err
			}
			*step.into = append(*step.into, took)
		}
	}
	row := []float64{
		claims.quantile(0.5), claims.quantile(0.99), stock.quantile(0.5),
		pushes.quantile(0.5), pushes.quantile(0.99), reads.quantile(0.5),
	}
	t.add(fmt.Sprintf("%d others", others), row...)
	return row, nil
}

// bareReads reads what was granted, as a push does.
func (db *database) bareReads(ctx context.Context, a keypackage.Announcement) error {
	granted := a.Deliveries()[0]
	_, err := db.client.GetAll(ctx, []*firestore.DocumentRef{
		db.client.Collection(db.Collections.Claims).Doc(keypackage.ClaimID(a.RequestID, granted.Owner)),
		db.client.Collection(db.Collections.Deliveries).Doc(granted.ID),
		db.client.Collection(db.Collections.Tombstones).Doc(keypackage.TombstoneID(keypackage.PackageOf(granted.ID), granted.Owner)),
	})
	return err
}

// putDeliveries writes pending deliveries of one-time packages that end then, each with its record and its ledger entry,
// each of another requester and owner. Their packages are copies of one, without the signed event, to keep the emulator's
// memory for their number.
func (db *database) putDeliveries(ctx context.Context, n int, ends time.Time) error {
	sample, err := packageDocument(actors.NewKey(), nostr.Now())
	if err != nil {
		return err
	}
	delete(sample, keypackage.FieldEvent)
	batch := newID()[:16] // so that further ones are others
	return db.put(ctx, 3*n, func(i int) (write, error) {
		d := delivery(fmt.Sprintf("%s%048x", batch, i/3), sample, ends)
		switch i % 3 {
		case 0:
			return write{db.Collections.Deliveries + "/" + d.ID, d}, nil
		case 1:
			entry := keypackage.Ledger{Owner: d.Owner, Use: keypackage.UseOneTime, DeliveryID: d.ID, PackageID: d.PackageID}
			return write{db.Collections.Ledger + "/" + d.Hash, entry}, nil
		}
		record := keypackage.Claim{
			RequestID: d.RequestID, Requester: d.Requester, Owner: d.Owner, Owners: []string{d.Owner},
			Status: keypackage.StatusFull, Requested: 1, Granted: 1, DeliveryIDs: []string{d.ID}, Authentic: true, CreatedAt: d.CreatedAt,
		}
		return write{db.Collections.Claims + "/" + record.ID(), record}, nil
	})
}

// delivery returns a pending delivery of which everything is named alike.
func delivery(id string, sample keypackage.Document, ends time.Time) *keypackage.Delivery {
	return &keypackage.Delivery{
		ID: keypackage.DeliveryID(id, id), Requester: id, Owner: id, PackageID: id, RequestID: id, RequestIDs: []string{id}, Hash: id,
		Package: sample, PackageExpires: time.Now().Add(24 * time.Hour), State: keypackage.StatePending,
		DueShard:    1 + rand.IntN(keypackage.Shards),
		RequestedAt: time.Now(), CreatedAt: time.Now(), ExpiresAt: ends,
	}
}
