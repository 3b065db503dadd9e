package store

import (
	"context"
	"iter"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// PendingOwners implements expiring.Store.
func (s *Store) PendingOwners(ctx context.Context) iter.Seq2[keypackage.Owner, error] {
	found := find(ctx, "read owners with notices", s.owners.Where("pending", "==", true))
	return decoded(found, func(snap *firestore.DocumentSnapshot) (keypackage.Owner, error) {
		var owner keypackage.Owner
		err := decode(snap, &owner)
		owner.Pubkey, owner.Version = snap.Ref.ID, snap.UpdateTime
		return owner, err
	})
}

// SaveSupplies implements expiring.Store.
func (s *Store) SaveSupplies(ctx context.Context, owner keypackage.Owner) error {
	t := s.begin()
	t.update(s.owners.Doc(owner.Pubkey), owner.Version, []firestore.Update{
		{Path: "supplies", Value: owner.Supplies}, {Path: "pending", Value: len(owner.DueNotices()) > 0},
	})
	return t.run(ctx, "save the supplies of an owner")
}

// Supplies returns what is recorded about an owner's stock, by keypackage.SuiteKey.
func (s *Store) Supplies(ctx context.Context, owner string) (map[string]keypackage.Supply, error) {
	var known keypackage.Owner
	snap, err := s.one(ctx, s.owners.Doc(owner))
	if err == nil {
		err = decode(snap, &known)
	}
	return known.Supplies, err
}
