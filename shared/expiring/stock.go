package expiring

import (
	"context"
	"errors"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// newestLimit is how many documents are looked at for packages that replace an exposed one: an owner's last uploads.
const newestLimit = 64

// notifyOwners publishes the levels of stock that claims recorded. Publishing comes first, so a notice may be repeated
// but not lost; its id is the same each time.
func (e *Expirer) notifyOwners(ctx context.Context, report *Report) error {
	for {
		owners, err := e.store.PendingOwners(ctx, queryBatch)
		if err != nil {
			return err
		}
		progress := false
		for _, owner := range owners {
			saved, err := e.notify(ctx, owner, report)
			if err != nil {
				return err
			}
			progress = progress || saved
		}
		if len(owners) < queryBatch || !progress {
			return nil
		}
	}
}

// notify reports whether it is recorded that the owner's notices are published. If not, a claim was faster, and the next
// run publishes them again.
func (e *Expirer) notify(ctx context.Context, owner keypackage.Owner, report *Report) (bool, error) {
	notices := owner.DueNotices()
	if err := e.notices.PublishNotices(ctx, notices); err != nil {
		return false, err
	}
	report.Notices += len(notices)
	owner.MarkNotified(notices)
	err := e.store.SaveSupplies(ctx, owner)
	if errors.Is(err, keypackage.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// removeExpired removes packages whose time is over. Those without an end of their own are removed by the claim that
// meets them.
func (e *Expirer) removeExpired(ctx context.Context, report *Report) error {
	for {
		found, removed, err := e.store.RemoveExpired(ctx, e.now(), queryBatch)
		report.Removed += removed
		if err != nil || found < queryBatch || removed == 0 {
			return err
		}
	}
}

// retireReserves removes exposed, unmarked packages whose owners have enough fresh ones: their private keys are likely to
// be gone.
func (e *Expirer) retireReserves(ctx context.Context, report *Report) error {
	for {
		entries, err := e.store.Retirable(ctx, e.now(), queryBatch)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := e.retire(ctx, entry, report); err != nil && !errors.Is(err, keypackage.ErrConflict) {
				return err
			}
		}
		if len(entries) < queryBatch {
			return nil
		}
	}
}

func (e *Expirer) retire(ctx context.Context, entry keypackage.Ledger, report *Report) error {
	exposed, err := e.store.Package(ctx, entry.PackageID)
	if err != nil {
		return err
	}
	if exposed == nil {
		return e.store.Retire(ctx, entry, nil, nil)
	}
	stock, err := e.store.Newest(ctx, entry.Owner, newestLimit)
	if err != nil {
		return err
	}
	replacements := keypackage.Replacements(exposed, stock, e.now())
	if replacements == nil {
		entry.Postpone(e.now())
		return e.store.Postpone(ctx, entry)
	}
	err = e.store.Retire(ctx, entry, exposed, replacements)
	if err == nil {
		report.Retired++
	}
	return err
}
