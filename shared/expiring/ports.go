package expiring

import (
	"context"
	"iter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Store keeps deliveries, stock and requests. All methods may be called concurrently, also from other processes; a lost race is
// keypackage.ErrConflict, and then nothing was written. What is changed must not have changed since it was read.
//
// What goes through documents reads on as they are taken, and they may be changed on the way. It yields keypackage.ErrUnreadable in
// the place of a document that is not what it should be, and goes on; any other error is the last that it yields. Each call begins
// at another shard, so that what comes first one time does not come first the next.
type Store interface {
	// Due goes through the open deliveries that ended at or before that time. Expire refuses what has a tombstone, even if Due was
	// not told to look for them.
	Due(ctx context.Context, before time.Time, tombstones bool) iter.Seq2[keypackage.StoredDelivery, error]

	// Expire saves deliveries on which Delivery.Expire was called, in one transaction. What returns is back in stock, and its ledger
	// entry gone if it names the delivery; it must have no tombstone.
	Expire(ctx context.Context, deliveries []*keypackage.Delivery) error

	// Waiting goes through the open deliveries that end after that time.
	Waiting(ctx context.Context, now time.Time) iter.Seq2[keypackage.Delivery, error]

	// Marked goes through the request documents that have the mark "open" and were received at or before that time.
	Marked(ctx context.Context, before time.Time) iter.Seq2[keypackage.RequestDocument, error]

	// Unmark removes the mark of a document and sets until when it is kept, provided that none of the claims exists.
	Unmark(ctx context.Context, doc keypackage.RequestDocument, claimIDs []string) error

	// Over goes through the documents in stock, of owners whose key begins with from or later and before to ("": to the end), that
	// are over by now as keypackage.Document.End tells. It reads names, not content.
	Over(ctx context.Context, from, to string, now time.Time) iter.Seq2[Document, error]

	// Remove removes documents from stock, those that have not changed, and returns how many.
	Remove(ctx context.Context, documents []Document) (int, error)

	// Retirable goes through the ledger entries that are to be looked at by now.
	Retirable(ctx context.Context, now time.Time) iter.Seq2[keypackage.Ledger, error]

	// Newest reads up to limit documents of the owner's stock, newest first, and reports whether they are the whole stock.
	Newest(ctx context.Context, owner string, limit int) (newest []*keypackage.Candidate, whole bool, err error)

	// Twins returns all documents of the owner's stock with the bytes of that ledger entry, except addressable ones.
	Twins(ctx context.Context, entry keypackage.Ledger) ([]Document, error)

	// Retire removes the documents of a reserve from stock (none: it is gone already) and ends the watch over its ledger entry,
	// provided that the replacements are still in stock and valid.
	Retire(ctx context.Context, entry keypackage.Ledger, reserve []Document, replacements []*keypackage.Candidate) error

	// Postpone saves when the ledger entry is looked at again.
	Postpone(ctx context.Context, entry keypackage.Ledger) error

	// PendingOwners goes through the owners with notices that nobody is known to have published.
	PendingOwners(ctx context.Context) iter.Seq2[keypackage.Owner, error]

	// SaveSupplies saves the supplies of an owner.
	SaveSupplies(ctx context.Context, owner keypackage.Owner) error
}

// Document names a document of the stock as it was read.
type Document struct {
	ID      string
	Version time.Time // update time
}

// Claimer recovers requests, see claiming.Claimer.
type Claimer interface {
	// Recover takes up one request, be it where it was left, and returns nil once its answer is recorded and announced, and its mark
	// removed.
	Recover(ctx context.Context, doc keypackage.RequestDocument) error
}

// Deliveries is the delivery topic, Notices the notice topic. They return nil once all messages are safely kept; otherwise some may
// have been.
type Deliveries interface {
	// PublishRequesters asks for the delivery of everything that is pending for requesters.
	PublishRequesters(ctx context.Context, requesters []string) error
}

// Notices tells owners about their stock, see Deliveries.
type Notices interface {
	PublishNotices(ctx context.Context, notices []keypackage.Notice) error
}
