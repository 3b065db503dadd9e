package claiming

import (
	"context"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Store keeps claims, the stock, and everything that a claim decides on. All methods may be called concurrently, also from other
// processes. What View, ReadStock and LookUp return may be outdated at once; Commit alone decides whether it still holds.
type Store interface {
	// Answers returns, by request, those of the claims and dismissals with these ids that exist.
	Answers(ctx context.Context, ids []string) (map[string]keypackage.Answer, error)

	// NeverPushed reports whether one of the deliveries is pending and no push of it was ever begun.
	NeverPushed(ctx context.Context, refs []keypackage.DeliveryRef) (bool, error)

	// View reads what is known about the owner and the requesters of the units, except the stock.
	View(ctx context.Context, owner string, units []Unit) (*View, error)

	// ReadStock reads documents of the owner's stock, without a look at anything else: nothing is verified that was not
	// verified before, and nothing known of its use. It keeps no bytes of what has a flaw.
	ReadStock(ctx context.Context, owner string, page Page) (Portion, error)

	// CountSuite counts the owner's documents that claim to be of a ciphersuite (keypackage.SuiteKey; "" for all), up to limit, for the
	// price of one.
	CountSuite(ctx context.Context, owner, suite string, limit int) (int, error)

	// Verify verifies those of the candidates that are not Verified.
	Verify(candidates []*keypackage.Candidate)

	// LookUp reads what the ledger and the tombstones say of those of the candidates that are not LookedUp.
	LookUp(ctx context.Context, candidates []*keypackage.Candidate) error

	// Deliveries returns those of the deliveries that exist, in any order.
	Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) ([]keypackage.StoredDelivery, error)

	// Commit writes the whole plan in one transaction, or nothing of it. It returns keypackage.ErrConflict unless everything that the plan
	// changes or relies on is as it was read. After any other error the plan may have been written all the same. It sets the Version
	// of the deliveries that it creates.
	Commit(ctx context.Context, plan *Plan) error

	// Dismiss records that a whole request is rejected or observed, unless that is recorded or one of the units' claims exists;
	// then it returns keypackage.ErrConflict.
	Dismiss(ctx context.Context, dismissal keypackage.Dismissal, unitIDs []string) error

	// NoteOutcome copies the outcome of a complete answer to the request's document, for people and for the relay, and removes its mark,
	// by which the scheduled function finds what is not finished: so it comes last. A document that is gone is no error.
	NoteOutcome(ctx context.Context, documentID string, answer keypackage.Answer) error
}

// Page says which documents of a stock to read.
type Page struct {
	Newest    bool                  // newest first; otherwise oldest created_at first, ties by lower id
	After     *keypackage.Candidate // where to go on, oldest first; nil: at the start
	Documents int                   // how many at the most
	Bytes     int                   // no further document is read once they have so many bytes together
}

// Portion is what a Page has found, in its order.
type Portion struct {
	Candidates []*keypackage.Candidate
	Bytes      int
	End        bool // the stock has no more
}

// View is what a claim knows about one owner besides the stock.
type View struct {
	Owner keypackage.Owner
	Pairs map[string]keypackage.Pair           // by requester; all requesters of the units
	Open  map[string]keypackage.StoredDelivery // by delivery id: what the pairs point to, if one of the units may join it
}

// Unit is one request's share in one owner: it is answered as a whole or not at all.
type Unit struct {
	Request *keypackage.Request
	Owner   string
	Holder  string       // set where the requester's session is: the first push of what is created begins with the claim, for it
	Stored  func() error // see ClaimHere; nil: the request's document is there, or there is none
	reads   *allowance   // shared by the units of a request; nil: no bound but the owner's
}

// ClaimID returns the document id of the unit's claim.
func (u Unit) ClaimID() string { return keypackage.ClaimID(u.Request.ID, u.Owner) }

// Plan is what a claim of one owner's packages, for any number of units, will write, and what it relies on.
//
// The rule that makes claims both safe and fast: what a plan changes is read before the transaction and written under the
// condition that it has not changed since; what it only relies on is read again by id inside the transaction. Reading in
// the transaction what is also written would make concurrent claims wait for each other's locks until one is aborted;
// conditions make the loser fail at once. Queries never run inside: they would lock the collection.
type Plan struct {
	Owner        keypackage.Owner
	WriteOwner   bool // packages were consumed, so the budget changed, or a level of the stock or its end was reached
	RequireOwner bool // the budget was too small, which must still be so
	Pairs        []keypackage.Pair
	Answers      []keypackage.Claim // to the units, in their order
	Claims       []keypackage.Claim // those of the answers that are recorded: all but a REQ's that is given nothing new
	Created      []*keypackage.Delivery
	Joined       []*keypackage.Delivery
	JoinedLate   []*keypackage.Delivery // delivered: they are not written
	Consumed     []Handout
	Reserves     []Handout
	// Remaining holds, for every ciphersuite that something is consumed of, one valid package that stays. Two claims that
	// each consume what the other leaves can not both commit: each deletes what the other reads.
	Remaining []*keypackage.Candidate
	Removed   []*keypackage.Candidate // expired, tombstoned or used up
	Flagged   []*keypackage.Candidate // not verified

	decisive []*keypackage.Candidate // on whose use the decision rests besides; not for the store
}

// writes reports whether there is anything to commit: a REQ that is given nothing new leaves everything as it is, unless it is
// the first to find the stock empty.
func (p *Plan) writes() bool { return len(p.Claims)+len(p.Removed)+len(p.Flagged) > 0 || p.WriteOwner }

// Handout is a package that is handed out. NewUse is false for a reserve that the ledger already knows as shared.
type Handout struct {
	Candidate *keypackage.Candidate
	Ledger    keypackage.Ledger
	NewUse    bool
}
