package expiring

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// removeBatch is how many documents one transaction removes.
const removeBatch = 25

// notifyOwners publishes the levels of stock that claims recorded, before it marks them: a notice may be repeated, never lost.
func (e *Expirer) notifyOwners(ctx context.Context, report *Report) error {
	return each(ctx, e.store.PendingOwners(ctx), 1, report, e.delivers, func(owners []keypackage.Owner) error {
		owner := owners[0]
		notices := owner.DueNotices()
		if err := e.notices.PublishNotices(ctx, notices); err != nil {
			return err
		}
		report.Notices += len(notices)
		owner.MarkNotified(notices)
		return e.store.SaveSupplies(ctx, owner)
	})
}

// removeExpired removes packages whose time is over. Those without an end of their own are removed by the claim that meets them.
// What is over only takes up room, so a run looks at a part of the owners, and an hour at all: an index by owner has no end at
// which everything is written, as one by the time of expiry would.
func (e *Expirer) removeExpired(ctx context.Context, report *Report) error {
	from, to := ownersOf(e.now())
	return each(ctx, e.store.Over(ctx, from, to, e.now()), removeBatch, report, e.delivers, func(batch []Document) error {
		removed, err := e.store.Remove(ctx, batch)
		report.Removed += removed
		return err
	})
}

// ownersOf returns the part of all owners whose turn it is in that minute: from the one key prefix up to the other.
func ownersOf(now time.Time) (from, to string) {
	const perPart = 256 / keypackage.Shards // of the first byte of a key
	part := int(now.Unix() / 60 % keypackage.Shards)
	from, to = fmt.Sprintf("%02x", part*perPart), fmt.Sprintf("%02x", (part+1)*perPart)
	switch part {
	case 0:
		from = "" // what is no key may come before the first and behind the last
	case keypackage.Shards - 1:
		to = ""
	}
	return from, to
}

// retireReserves removes reserves, no last resorts, whose owners have enough fresh packages: their private keys are likely gone.
func (e *Expirer) retireReserves(ctx context.Context, report *Report) error {
	return each(ctx, e.store.Retirable(ctx, e.now()), 1, report, e.delivers, func(entries []keypackage.Ledger) error {
		return e.retire(ctx, entries[0], report)
	})
}

// retire removes a package with all events that carry it: one that stayed could become the last that its owner has.
func (e *Expirer) retire(ctx context.Context, entry keypackage.Ledger, report *Report) error {
	stock, whole, err := e.store.Newest(ctx, entry.Owner, keypackage.NewestLimit)
	if err != nil {
		return err
	}
	replacements := keypackage.Replacements(entry, stock, e.now())
	here := func(c *keypackage.Candidate) bool { return c.Hash == entry.Hash && !c.Addressable }
	switch {
	case whole && !slices.ContainsFunc(stock, here):
		return e.store.Retire(ctx, entry, nil, nil)
	case replacements == nil:
		entry.Postpone(e.now())
		return e.store.Postpone(ctx, entry)
	}
	twins, err := e.store.Twins(ctx, entry)
	if err != nil {
		return err
	}
	err = e.store.Retire(ctx, entry, twins, replacements)
	if err == nil && len(twins) > 0 {
		report.Retired++
	}
	return err
}
