package keypackage

import "time"

// Status is the answer to one unit (one request, one owner), or to a whole request that is not served.
type Status string

// The values of Status. For a unit: full, partial, limited, no_match, none. For a request as a whole: rejected, observed.
const (
	StatusFull     Status = "full"
	StatusPartial  Status = "partial"
	StatusLimited  Status = "limited"  // too many requests of this requester for this owner
	StatusNoMatch  Status = "no_match" // valid packages, none of the ciphersuite asked for
	StatusNone     Status = "none"     // no valid package at all
	StatusRejected Status = "rejected"
	StatusObserved Status = "observed"
)

// Reasons of a unit's record; "" where the status says it all.
const (
	ReasonBudget    = "budget"     // only the reserve: too many of the owner's packages were handed out in the last hour
	ReasonPairLimit = "pair_limit" // with StatusLimited
	ReasonScanLimit = "scan_limit" // with StatusNoMatch: the stock was not read to its end
	ReasonStale     = "stale"      // with StatusNone: the request ended before all its owners were taken up

	ReasonAddressable = "addressable" // with StatusNone, never recorded: a REQ that is answered by a 30443, which anybody may read
)

// Claim is the authority on what was answered. There is one for each unit, and exactly one of a different kind
// (Owner empty) for a request that was rejected or only observed. What it says is repeated, never decided again.
type Claim struct {
	RequestID   string    `firestore:"request_event_id"`
	Requester   string    `firestore:"requester_pubkey"`
	Owner       string    `firestore:"owner_pubkey"`  // "" for a request as a whole
	Owners      []string  `firestore:"owner_pubkeys"` // all owners of the request
	Status      Status    `firestore:"status"`
	Reason      string    `firestore:"reason"`
	Requested   int       `firestore:"requested"`
	Granted     int       `firestore:"granted"` // packages, joined ones and the reserve included
	Reserve     bool      `firestore:"last_resort"`
	RetryAt     time.Time `firestore:"retry_at,omitempty"` // zero if trying again later would not help
	DeliveryIDs []string  `firestore:"delivery_ids"`
	OutOfStock  bool      `firestore:"out_of_stock,omitempty"` // with StatusNone: she had none when last asked for either, if ever
	Observed    []Row     `firestore:"observed"`               // what would have been claimed, with StatusObserved
	Authentic   bool      `firestore:"authentic"`              // the requester has signed this request, so the outcome is told
	Gateway     bool      `firestore:"gateway"`                // made where the requester's session is: the gateway tells the outcome
	CreatedAt   time.Time `firestore:"created_at,omitempty"`
	KeepUntil   time.Time `firestore:"keep_until,omitempty"`
}

// ClaimID returns the document id of the record of a unit, or with owner "" of the record of a whole request.
func ClaimID(requestID, owner string) string { return requestID + "_" + owner }

// ID returns the document id of the record.
func (r *Claim) ID() string { return ClaimID(r.RequestID, r.Owner) }

// Deliveries names what was granted, joined deliveries included.
func (r *Claim) Deliveries() []DeliveryRef {
	refs := make([]DeliveryRef, len(r.DeliveryIDs))
	for i, id := range r.DeliveryIDs {
		refs[i] = DeliveryRef{ID: id, Owner: r.Owner}
	}
	return refs
}

// claimBeyond is how long a record outlives its request, so that late repetitions still find it.
const claimBeyond = 24 * time.Hour

// KeepClaimUntil returns until when the records of a request are kept.
func KeepClaimUntil(validUntil time.Time) time.Time { return validUntil.Add(claimBeyond) }

// Row is one owner's line of an outcome, as the requester is told it.
type Row struct {
	Owner     string    `firestore:"owner"`
	Requested int       `firestore:"requested"`
	Granted   int       `firestore:"granted"`
	Reserve   bool      `firestore:"last_resort"`
	Reason    string    `firestore:"reason"`
	RetryAt   time.Time `firestore:"retry_at,omitempty"`
}

// Row returns the record as a line of the outcome.
func (r *Claim) Row() Row {
	reason := r.Reason
	if reason == "" && r.Status != StatusFull {
		reason = string(r.Status)
	}
	return Row{
		Owner: r.Owner, Requested: r.Requested, Granted: r.Granted, Reserve: r.Reserve,
		Reason: reason, RetryAt: r.RetryAt,
	}
}

// Outcome is the one answer to a whole request.
type Outcome string

// The values of Outcome.
const (
	OutcomeGranted  Outcome = "granted"
	OutcomePartial  Outcome = "partial"
	OutcomeLimited  Outcome = "limited"
	OutcomeNoMatch  Outcome = "no_match"
	OutcomeNone     Outcome = "none"
	OutcomeRejected Outcome = "rejected"
	OutcomeObserved Outcome = "observed"
)

// Conclude derives the outcome of a request from its records, and reports whether all of them are there.
func Conclude(records []Claim) (Outcome, bool) {
	seen := make(map[Status]bool)
	packages, owners := 0, 0
	for _, r := range records {
		if r.Owner == "" {
			return Outcome(r.Status), true
		}
		seen[r.Status] = true
		packages += r.Granted
		owners = len(r.Owners)
	}
	complete := len(records) > 0 && len(records) == owners
	for _, s := range []Status{StatusLimited, StatusNoMatch, StatusNone} {
		if packages == 0 && seen[s] {
			return Outcome(s), complete
		}
	}
	if seen[StatusFull] && len(seen) == 1 {
		return OutcomeGranted, complete
	}
	return OutcomePartial, complete
}
