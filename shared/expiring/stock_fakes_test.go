package expiring

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func (w *world) Over(ctx context.Context, from, to string, now time.Time) iter.Seq2[Document, error] {
	return going(ctx, w, "Over", func() (over []Document) {
		for id, c := range w.stock {
			if c.Expired(now) && c.Owner >= from && (to == "" || c.Owner < to) {
				over = append(over, Document{id, c.Version})
			}
		}
		return over
	}, func(d Document) string { return d.ID })
}

func (w *world) Remove(ctx context.Context, documents []Document) (removed int, err error) {
	err = w.during(ctx, "Remove", func() error {
		for _, d := range documents {
			if c := w.stock[d.ID]; c != nil && c.Version.Equal(d.Version) {
				delete(w.stock, d.ID)
				removed++
			}
		}
		return nil
	})
	return removed, err
}

func (w *world) Retirable(ctx context.Context, now time.Time) iter.Seq2[keypackage.Ledger, error] {
	return going(ctx, w, "Retirable", func() (entries []keypackage.Ledger) {
		for _, entry := range w.ledger {
			if entry.CheckShard > 0 && !entry.CheckAt.After(now) {
				entries = append(entries, entry)
			}
		}
		return entries
	}, func(entry keypackage.Ledger) string { return entry.PackageID })
}

func (w *world) Twins(ctx context.Context, entry keypackage.Ledger) (twins []Document, err error) {
	err = w.during(ctx, "Twins", func() error {
		for id, c := range w.stock {
			if c.Hash == entry.Hash && c.Owner == entry.Owner {
				twins = append(twins, Document{id, c.Version})
			}
		}
		return nil
	})
	return twins, err
}

func (w *world) Newest(ctx context.Context, owner string, limit int) (all []*keypackage.Candidate, whole bool, err error) {
	err = w.during(ctx, "Newest", func() error {
		for _, c := range w.stock {
			if c.Owner == owner {
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b *keypackage.Candidate) int { return keypackage.CompareAge(b, a) })
		whole = len(all) < limit
		all = all[:min(limit, len(all))]
		return nil
	})
	return all, whole, err
}

func (w *world) Retire(
	ctx context.Context, entry keypackage.Ledger, reserve []Document, replacements []*keypackage.Candidate,
) error {
	return w.during(ctx, "Retire", func() error {
		if !w.ledger[entry.Hash].Version.Equal(entry.Version) {
			return keypackage.ErrConflict
		}
		for _, d := range reserve {
			c := w.stock[d.ID]
			if c.LastResort || c.Hash != entry.Hash || len(replacements) < 2 || slices.Contains(replacements, c) {
				w.Errorf("retired: %s for %d others", c.ID, len(replacements))
			}
			delete(w.stock, d.ID)
		}
		for id, c := range w.stock {
			if c.Hash == entry.Hash {
				w.Errorf("%s stays, with the bytes of what is retired", id)
			}
		}
		entry.CheckShard, entry.Version = 0, w.tick()
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

func (w *world) PendingOwners(ctx context.Context) iter.Seq2[keypackage.Owner, error] {
	return going(ctx, w, "PendingOwners", func() (owners []keypackage.Owner) {
		for _, owner := range w.owners {
			if owner.Pending {
				owner.Supplies = maps.Clone(owner.Supplies)
				owners = append(owners, owner)
			}
		}
		slices.SortFunc(owners, func(a, b keypackage.Owner) int { return cmp.Compare(a.Pubkey, b.Pubkey) })
		return owners
	}, func(owner keypackage.Owner) string { return owner.Pubkey })
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
