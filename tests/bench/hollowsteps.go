package main

import (
	"context"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// readAndClaim reads and writes what a claim of one package does: the stock with ledger and tombstones, beside them the
// documents of owner, pair and records; then a transaction that looks again at what it relies on.
func (h *hollow) readAndClaim(ctx context.Context, id string) error {
	client := h.db.client
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		owner := h.owners[int(id[0])%len(h.owners)]
		stock, err := client.Collection(h.db.Collections.KeyPackages).Where(keypackage.FieldOwner, "==", owner).
			OrderBy(keypackage.FieldCreatedAt, firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).
			Limit(1 + keypackage.RefilledStock).Documents(groupCtx).GetAll()
		if err != nil {
			return err
		}
		refs := make([]*firestore.DocumentRef, 0, 2*len(stock))
		for _, snap := range stock {
			refs = append(refs, h.doc("ledger", snap.Ref.ID), h.doc("tombstone", snap.Ref.ID))
		}
		_, err = client.GetAll(groupCtx, refs)
		return err
	})
	group.Go(func() error {
		_, err := client.GetAll(groupCtx, h.docs(id, "owner", "pair", "record", "whole"))
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) error {
		if _, err := tx.GetAll(h.docs(id, "whole", "tombstone", "behind", "behind_ledger", "behind_tombstone")); err != nil {
			return err
		}
		for _, kind := range []string{"record", "pair", "owner", "ledger"} {
			if err := tx.Create(h.doc(kind, id), map[string]any{"request_event_id": id}); err != nil {
				return err
			}
		}
		if err := tx.Create(h.doc("delivery", id), map[string]any{"request_event_id": id, "package": h.sample}); err != nil {
			return err
		}
		return tx.Delete(h.doc("package", id))
	})
}

func (h *hollow) docs(id string, kinds ...string) []*firestore.DocumentRef {
	refs := make([]*firestore.DocumentRef, len(kinds))
	for i, kind := range kinds {
		refs[i] = h.doc(kind, id)
	}
	return refs
}

func (h *hollow) announce(ctx context.Context, id string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.publisher.PublishRequest(ctx, keypackage.Announcement{RequestID: id}) })
	group.Go(func() error {
		_, err := h.db.client.Collection(hollowRequests).Doc(id).Update(ctx, []firestore.Update{{Path: "outcome", Value: "granted"}})
		return err
	})
	return group.Wait()
}

// readAndBegin reads and writes what a push does before it calls the relay.
func (h *hollow) readAndBegin(ctx context.Context, id string) (version time.Time, err error) {
	client := h.db.client
	snaps, err := client.GetAll(ctx, h.docs(id, "delivery", "record", "tombstone"))
	if err != nil {
		return version, err
	}
	var response firestore.CommitResponse
	err = client.RunTransaction(ctx, func(_ context.Context, tx *firestore.Transaction) error {
		if _, err := tx.GetAll(h.docs(id, "tombstone")); err != nil {
			return err
		}
		return tx.Update(h.doc("delivery", id), []firestore.Update{{Path: "state", Value: "sending"}},
			firestore.LastUpdateTime(snaps[0].UpdateTime))
	}, firestore.WithCommitResponseTo(&response))
	return response.CommitTime(), err
}

func (h *hollow) record(ctx context.Context, id string, version time.Time) error {
	_, err := h.doc("delivery", id).Update(ctx, []firestore.Update{{Path: "state", Value: "delivered"}},
		firestore.LastUpdateTime(version))
	return err
}
