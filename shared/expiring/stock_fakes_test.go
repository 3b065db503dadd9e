package expiring

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func (w *world) RemoveExpired(ctx context.Context, now time.Time, limit int) (found, removed int, err error) {
	err = w.during(ctx, "RemoveExpired", func() error {
		for id, c := range w.stock {
			if c.Expired(now) && found < limit {
				delete(w.stock, id)
				found, removed = found+1, removed+1
			}
		}
		return nil
	})
	return found, removed, err
}

func (w *world) Retirable(ctx context.Context, now time.Time, limit int) (entries []keypackage.Ledger, err error) {
	err = w.during(ctx, "Retirable", func() error {
		for _, entry := range w.ledger {
			if entry.Retirable && !entry.CheckAt.After(now) && len(entries) < limit {
				entries = append(entries, entry)
			}
		}
		return nil
	})
	return entries, err
}

func (w *world) Package(ctx context.Context, id string) (c *keypackage.Candidate, err error) {
	err = w.during(ctx, "Package", func() error {
		c = w.stock[id]
		return nil
	})
	return c, err
}

func (w *world) Newest(ctx context.Context, owner string, limit int) (all []*keypackage.Candidate, err error) {
	err = w.during(ctx, "Newest", func() error {
		for _, c := range w.stock {
			if c.Owner == owner {
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b *keypackage.Candidate) int { return keypackage.CompareAge(b, a) })
		all = all[:min(limit, len(all))]
		return nil
	})
	return all, err
}

func (w *world) Retire(
	ctx context.Context, entry keypackage.Ledger, exposed *keypackage.Candidate, replacements []*keypackage.Candidate,
) error {
	return w.during(ctx, "Retire", func() error {
		if !w.ledger[entry.Hash].Version.Equal(entry.Version) {
			return keypackage.ErrConflict
		}
		if exposed != nil {
			if exposed.LastResort || exposed.Hash != entry.Hash || len(replacements) < 2 || slices.Contains(replacements, exposed) {
				w.Errorf("retired: %s for %d others", exposed.ID, len(replacements))
			}
			delete(w.stock, exposed.ID)
		} else if w.stock[entry.PackageID] != nil {
			w.Errorf("%s is said to be gone", entry.PackageID)
		}
		entry.Retirable, entry.Version = false, w.tick()
		w.ledger[entry.Hash] = entry
		return nil
	})
}

func (w *world) Postpone(ctx context.Context, entry keypackage.Ledger) error {
	return w.during(ctx, "Postpone", func() error {
		if !w.ledger[entry.Hash].Version.Equal(entry.Version) {
			return keypackage.ErrConflict
		}
		if !entry.CheckAt.After(time.Now()) {
			w.Errorf("postponed to %v", entry.CheckAt)
		}
		entry.Version = w.tick()
		w.ledger[entry.Hash] = entry
		return nil
	})
}

func (w *world) PendingOwners(ctx context.Context, limit int) (owners []keypackage.Owner, err error) {
	err = w.during(ctx, "PendingOwners", func() error {
		for _, owner := range w.owners {
			if owner.Pending && len(owners) < limit {
				supplies := make(map[string]keypackage.Supply)
				for suite, supply := range owner.Supplies {
					supplies[suite] = supply
				}
				owner.Supplies = supplies
				owners = append(owners, owner)
			}
		}
		slices.SortFunc(owners, func(a, b keypackage.Owner) int { return cmp.Compare(a.Pubkey, b.Pubkey) })
		return nil
	})
	return owners, err
}

func (w *world) SaveSupplies(ctx context.Context, owner keypackage.Owner) error {
	return w.during(ctx, "SaveSupplies", func() error {
		if !w.owners[owner.Pubkey].Version.Equal(owner.Version) {
			return keypackage.ErrConflict
		}
		for suite, supply := range owner.Supplies {
			notice := keypackage.Notice{Owner: owner.Pubkey, Suite: suite, Supply: supply}
			if supply.Notified && !slices.Contains(w.notices, notice.ID()) {
				w.Errorf("%s is said to be announced", notice.ID())
			}
		}
		owner.Pending, owner.Version = len(owner.DueNotices()) > 0, w.tick()
		w.owners[owner.Pubkey] = owner
		return nil
	})
}

func (w *world) PublishNotices(ctx context.Context, notices []keypackage.Notice) error {
	return w.during(ctx, "PublishNotices", func() error {
		for _, n := range notices {
			w.notices = append(w.notices, n.ID())
		}
		return nil
	})
}
