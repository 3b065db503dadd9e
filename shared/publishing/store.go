package publishing

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Store keeps what is published. All methods may be called concurrently, also from other processes. A lost race is
// keypackage.ErrConflict, and then nothing was written.
type Store interface {
	// CountSuite counts the owner's documents of a ciphersuite (keypackage.SuiteKey; "" for all), up to limit.
	CountSuite(ctx context.Context, owner, suite string, limit int) (int, error)

	// Published returns what decides about a KeyPackage that is published. slot is "" for kind 443.
	Published(ctx context.Context, p *keypackage.Package, slot string) (Published, error)

	// Stock puts a KeyPackage in stock under the document's id, removes the older versions of its slot and, with entry, adds
	// it to the ledger, or has the entry of that version watched, all in one transaction, provided that neither the KeyPackage
	// nor its slot has been deleted since, and that its bytes were used no more than that.
	Stock(ctx context.Context, p *keypackage.Package, slot string, known Published, entry *keypackage.Ledger) error

	// Expose adds to the ledger that a KeyPackage in stock may have been seen, provided that the ledger has nothing about it,
	// or has the entry of that version watched.
	Expose(ctx context.Context, entry keypackage.Ledger) error

	// Deletable returns what the author has in stock of these ids, and of slots whatever is there.
	Deletable(ctx context.Context, author string, ids, slots []string) (Deletable, error)

	// Delete writes the tombstones and removes the documents of those that are in stock, all in one transaction, provided
	// that the others are not in stock and that the slots' tombstones are as they were read.
	Delete(ctx context.Context, author string, d Deletion) error

	// AddRequest creates a request's document. It returns false if it is there already.
	AddRequest(ctx context.Context, id string, document map[string]any) (added bool, err error)

	// StockedBy returns the signed events that an owner has in stock, of both kinds, at most limit, in any order.
	StockedBy(ctx context.Context, owner string, limit int) ([]string, error)

	// Addressable returns the signed events of kind 30443 that owners have in stock, at most limit of all together, in any
	// order.
	Addressable(ctx context.Context, owners []string, limit int) ([]string, error)
}

// Published is what is known about a KeyPackage before it is put in stock.
type Published struct {
	Stored      bool
	Tombstoned  bool
	Use         keypackage.Use
	Unwatched   time.Time // update time of a ledger entry of a reserve that nobody will retire; zero if there is none
	SlotDeleted int64     // versions of the slot created up to then (Unix seconds) are deleted; 0 if none is
	SlotVersion time.Time // update time of the slot's tombstone; zero if there is none
	Slot        []Version // what is in stock of the slot
}

// Version is one version of an addressable KeyPackage in stock.
type Version struct {
	ID        string
	CreatedAt int64
}

// Deletable is what a deletion meets.
type Deletable struct {
	InStock map[string]bool // by event id: the author's; false for another author's
	Slots   map[string]Published
}

// Deletion is what a kind 5 comes to.
type Deletion struct {
	IDs       []string         // that get a tombstone
	Remove    []string         // those of them that are in stock
	Slots     map[string]int64 // whose versions are deleted up to then, Unix seconds
	Known     map[string]Published
	DeletedAt time.Time
	KeepUntil time.Time
}
