package expiring

import (
	"context"
	"iter"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Store keeps deliveries, stock and requests. All methods may be called concurrently, also from other processes; a lost
// race is keypackage.ErrConflict, and then nothing was written.
type Store interface {
	// Due goes through the open deliveries that ended at or before that time, in the order of their end, up to batch of them
	// at a time, reading on as they are taken. They may be expired on the way. An error is the last that it yields.
	Due(ctx context.Context, before time.Time, batch int) iter.Seq2[[]keypackage.StoredDelivery, error]

	// Expire saves deliveries on which Delivery.Expire was called, in one transaction, provided that none has changed since
	// it was read. A package that is returned is back in stock afterwards, and its ledger entry gone if it names the
	// delivery; that needs that it has no tombstone.
	Expire(ctx context.Context, deliveries []*keypackage.Delivery) error

	// Waiting returns up to limit open deliveries that end after that time, from behind `after` (nil: from the start), in
	// the order of their end.
	Waiting(ctx context.Context, now time.Time, after *keypackage.Delivery, limit int) ([]keypackage.StoredDelivery, error)

	// RemoveExpired removes up to limit documents from stock whose own field says that their time was over by now, and
	// returns how many it found and removed.
	RemoveExpired(ctx context.Context, now time.Time, limit int) (found, removed int, err error)

	// Retirable returns up to limit ledger entries that are to be looked at by now.
	Retirable(ctx context.Context, now time.Time, limit int) ([]keypackage.Ledger, error)

	// Package returns one document of the stock, or nil.
	Package(ctx context.Context, id string) (*keypackage.Candidate, error)

	// Newest reads up to limit documents of the owner's stock, newest first.
	Newest(ctx context.Context, owner string, limit int) ([]*keypackage.Candidate, error)

	// Retire removes an exposed package from stock (nil: it is gone already) and ends the watch over its ledger entry,
	// provided that the replacements are still in stock and valid.
	Retire(ctx context.Context, entry keypackage.Ledger, exposed *keypackage.Candidate, replacements []*keypackage.Candidate) error

	// Postpone saves when the ledger entry is looked at again.
	Postpone(ctx context.Context, entry keypackage.Ledger) error

	// PendingOwners returns up to limit owners with notices that nobody is known to have published.
	PendingOwners(ctx context.Context, limit int) ([]keypackage.Owner, error)

	// SaveSupplies saves the supplies of an owner, provided that nothing about the owner has changed since it was read.
	SaveSupplies(ctx context.Context, owner keypackage.Owner) error

	// Sweep returns the state of the walk through the requests; the zero value if there was none.
	Sweep(ctx context.Context) (Sweep, error)

	// SaveSweep saves the state, provided that it has not changed since it was read.
	SaveSweep(ctx context.Context, sweep Sweep) error

	// Requests returns up to limit documents received after `from` (behind `after`, if it is not nil) and not after `to`,
	// in the order of their receipt.
	Requests(
		ctx context.Context, from, to time.Time, after *keypackage.RequestDocument, limit int,
	) ([]keypackage.RequestDocument, error)
}

// Claimer takes up requests, see claiming.Claimer.
type Claimer interface {
	// Unanswered returns those of the documents that have no answer, or not for all their owners.
	Unanswered(ctx context.Context, docs []keypackage.RequestDocument) ([]keypackage.RequestDocument, error)

	// Recover takes up one request and returns nil once its answer is recorded and announced.
	Recover(ctx context.Context, doc keypackage.RequestDocument) error
}

// Deliveries is the delivery topic. It returns nil once all messages are safely kept; otherwise some may have been.
type Deliveries interface {
	// PublishRequesters asks for the delivery of everything that is pending for requesters.
	PublishRequesters(ctx context.Context, requesters []string) error
}

// Notices is the notice topic. It returns nil once all messages are safely kept; otherwise some may have been.
type Notices interface {
	// PublishNotices tells owners about their stock.
	PublishNotices(ctx context.Context, notices []keypackage.Notice) error
}

// Sweep is how far the walk through the requests has come.
type Sweep struct {
	Cursor  time.Time `firestore:"cursor"`  // every request received before it has an answer, or was received in mode off
	Off     []Off     `firestore:"off"`     // when the mode was off, as far as the walk has not passed it
	OffNow  bool      `firestore:"off_now"` // the last run was in mode off
	Version time.Time `firestore:"-"`
}

// Off is a time in mode off, as the scheduled function saw it.
type Off struct {
	Since time.Time `firestore:"since"`
	Until time.Time `firestore:"until"`
}
