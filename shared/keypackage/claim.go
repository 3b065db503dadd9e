package keypackage

import "time"

// Status sums up the answer to one unit: one request, one owner.
type Status string

// The values of Status.
const (
	StatusFull    Status = "full"
	StatusPartial Status = "partial"
	StatusLimited Status = "limited"  // too many requests of this requester for this owner
	StatusNoMatch Status = "no_match" // valid packages, none of the ciphersuite asked for
	StatusNone    Status = "none"     // no valid package at all
)

// Reasons of a claim; "" where the status says it all.
const (
	ReasonBudget    = "budget"     // only the reserve: too many of the owner's packages were handed out in the last hour
	ReasonPairLimit = "pair_limit" // with StatusLimited
	ReasonScanLimit = "scan_limit" // with StatusNoMatch: the stock was not read to its end
	ReasonStale     = "stale"      // with StatusNone: the request ended before all its owners were taken up
	ReasonUnusable  = "unusable"   // with StatusNone: there are documents in stock, and none of them is valid

	ReasonAddressable = "addressable" // with StatusNone, never recorded: a REQ that is answered by a 30443, which anybody may read
)

// Claim is the recorded answer to one unit.
type Claim struct {
	RequestID   string    `firestore:"request_event_id"`
	Requester   string    `firestore:"requester_pubkey"`
	Owner       string    `firestore:"owner_pubkey"`
	Owners      []string  `firestore:"owner_pubkeys"` // all owners of the request
	Status      Status    `firestore:"status"`
	Reason      string    `firestore:"reason"`
	Requested   int       `firestore:"requested"`
	Granted     int       `firestore:"granted"` // packages, joined ones and the reserve included
	Reserve     bool      `firestore:"last_resort"`
	RetryAt     time.Time `firestore:"retry_at,omitempty"`     // zero if trying again later would not help
	DeliveryIDs []string  `firestore:"delivery_ids"`           // that of the reserve, if it is among them, is the last
	OutOfStock  bool      `firestore:"out_of_stock,omitempty"` // with StatusNone: she had none when last asked for either, if ever
	Authentic   bool      `firestore:"authentic"`              // the requester has signed this request, so the outcome is told
	Gateway     bool      `firestore:"gateway"`                // made where the requester's session is: the gateway tells the outcome
	CreatedAt   time.Time `firestore:"created_at,omitempty"`
	KeepUntil   time.Time `firestore:"keep_until,omitempty"`
}

// ClaimID returns the document id of the claim of a unit.
func ClaimID(requestID, owner string) string { return requestID + "_" + owner }

// ID returns the document id of the claim.
func (c *Claim) ID() string { return ClaimID(c.RequestID, c.Owner) }

// Grant adds a delivery to what was granted. At most one may be of a reserve.
func (c *Claim) Grant(d *Delivery) {
	c.Granted++
	c.DeliveryIDs = append(c.DeliveryIDs, d.ID)
	if last := len(c.DeliveryIDs) - 1; c.Reserve { // it stays the last
		c.DeliveryIDs[last], c.DeliveryIDs[last-1] = c.DeliveryIDs[last-1], c.DeliveryIDs[last]
	}
	c.Reserve = c.Reserve || d.Reserve
}

// Deliveries names what was granted, joined deliveries included.
func (c *Claim) Deliveries() []DeliveryRef {
	refs := make([]DeliveryRef, len(c.DeliveryIDs))
	for i, id := range c.DeliveryIDs {
		refs[i] = DeliveryRef{ID: id, Owner: c.Owner}
	}
	return refs
}

// KeepAnswerUntil returns until when the answer to a request is kept: a day beyond its end, so that late repetitions find it.
func KeepAnswerUntil(validUntil time.Time) time.Time { return validUntil.Add(24 * time.Hour) }

// Row is one line of an outcome, as the requester is told it: one owner's, or with Owner "" that of a dismissal.
type Row struct {
	Owner     string    `firestore:"owner"`
	Requested int       `firestore:"requested"`
	Granted   int       `firestore:"granted"`
	Reserve   bool      `firestore:"last_resort"`
	Reason    string    `firestore:"reason"`
	RetryAt   time.Time `firestore:"retry_at,omitempty"`
	Packages  []Granted `firestore:"keypackages,omitempty"` // what was set aside: the requester may wait for these
}

// Granted names a package in a Row.
type Granted struct {
	ID      string `firestore:"id"`
	Reserve bool   `firestore:"last_resort"` // the owner's reserve, which others may be given, too
}

// Row returns the claim as a line of the outcome.
func (c *Claim) Row() Row {
	row := Row{
		Owner: c.Owner, Requested: c.Requested, Granted: c.Granted, Reserve: c.Reserve, Reason: c.Reason, RetryAt: c.RetryAt,
	}
	if row.Reason == "" && c.Status != StatusFull {
		row.Reason = string(c.Status)
	}
	for i, id := range c.DeliveryIDs {
		row.Packages = append(row.Packages, Granted{PackageOf(id), c.Reserve && i == len(c.DeliveryIDs)-1})
	}
	return row
}
