package store

import (
	"context"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// PendingOwners implements expiring.Store.
func (s *Store) PendingOwners(ctx context.Context, limit int) ([]keypackage.Owner, error) {
	snaps, err := s.owners.Where("pending", "==", true).Limit(limit).Documents(ctx).GetAll()
	if err != nil {
		return nil, failed("read owners with notices", err)
	}
	owners := make([]keypackage.Owner, len(snaps))
	for i, snap := range snaps {
		if err := decode(snap, &owners[i]); err != nil {
			return nil, err
		}
		owners[i].Version = snap.UpdateTime
	}
	return owners, nil
}

// SaveSupplies implements expiring.Store.
func (s *Store) SaveSupplies(ctx context.Context, owner keypackage.Owner) error {
	t := s.begin()
	t.update(s.owners.Doc(owner.Pubkey), owner.Version, []firestore.Update{
		{Path: "supplies", Value: owner.Supplies}, {Path: "pending", Value: len(owner.DueNotices()) > 0},
	})
	_, err := t.commit(ctx, "save the supplies of an owner")
	return err
}
