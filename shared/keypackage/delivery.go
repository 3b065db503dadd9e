package keypackage

import (
	"slices"
	"strings"
	"time"
)

// State is the state of a pending delivery:
//
//	pending ──(BeginPush, committed before each push)──> sending ──(delivered)──> delivered
//	   ▲                                                    │
//	   └──────────────(any other recorded end)──────────────┘
//	pending | sending ──(ExpiresAt + Fence)──> expired
type State string

// The states. Delivered and expired are terminal.
const (
	StatePending   State = "pending"
	StateSending   State = "sending"
	StateDelivered State = "delivered"
	StateExpired   State = "expired"
)

// Times of a push. A third of each lease is margin, for the write that begins it and for clocks that differ. The fence is
// longer than the longest lease, so that at its end no push can be under way.
const (
	PushTimeout = 10 * time.Second // to a relay, which may take half of it
	Lease       = PushTimeout * 3 / 2

	LocalPushTimeout = 2 * time.Second // into a session of the same process, where only a queue can be in the way
	LocalLease       = LocalPushTimeout * 3 / 2

	Fence = 2 * Lease
)

// Delivery is one KeyPackage on its way to one requester.
type Delivery struct {
	ID              string     `firestore:"-"` // RequestID_PackageID
	Requester       string     `firestore:"requester_pubkey"`
	Owner           string     `firestore:"keypackage_owner_pubkey"`
	PackageID       string     `firestore:"keypackage_event_id"`
	RequestID       string     `firestore:"request_event_id"` // the request that claimed the package
	RequestIDs      []string   `firestore:"request_ids"`      // and those that joined it later
	Claim           *Claim     `firestore:"claim,omitempty"`  // a copy of RequestID's, if it asked one owner only
	Hash            string     `firestore:"ledger_id"`        // key of the package's ledger entry
	Suite           string     `firestore:"ciphersuite"`      // SuiteKey
	Reserve         bool       `firestore:"last_resort"`      // the package is the owner's reserve and stays in stock
	Package         Document   `firestore:"package"`          // the package's document: what is delivered, or returned to stock
	PackageExpires  time.Time  `firestore:"package_expires,omitempty"`
	RequestedAt     time.Time  `firestore:"requested_at,omitempty"` // when the relay received the request
	CreatedAt       time.Time  `firestore:"created_at,omitempty"`
	ExpiresAt       time.Time  `firestore:"expires_at,omitempty"`
	DueShard        int        `firestore:"due_shard,omitempty"` // 1 to Shards while open: only what is open is looked for by its end
	State           State      `firestore:"state"`
	PushNo          int        `firestore:"push_no"` // raised by every BeginPush: names one push
	LeaseUntil      time.Time  `firestore:"lease_until,omitempty"`
	LeaseBy         string     `firestore:"lease_by"`         // who holds the lease: random for each push
	ExposureUnknown bool       `firestore:"exposure_unknown"` // a push ended without a definite answer: the package never returns to stock
	Parked          bool       `firestore:"parked"`           // the relay cannot deliver it: never pushed again
	Attempts        int        `firestore:"attempts"`         // pushes that left this process
	LastResult      PushResult `firestore:"last_result"`
	Reason          string     `firestore:"reason"` // how it expired
	DeliveredAt     time.Time  `firestore:"delivered_at,omitempty"`
	FinishedAt      time.Time  `firestore:"finished_at,omitempty"` // zero while open
	KeepUntil       time.Time  `firestore:"keep_until,omitempty"`  // zero while open
	Version         time.Time  `firestore:"-"`                     // update time of the document
}

// StoredDelivery is a delivery as it was read, with what else decides about it.
type StoredDelivery struct {
	Delivery
	Tombstoned bool // the owner deleted the package: it is not pushed, and not returned to stock
}

// DeliveryID returns the document id of the delivery of a package for a request.
func DeliveryID(requestID, packageID string) string { return requestID + "_" + packageID }

// PackageOf returns the package's id out of a delivery's.
func PackageOf(deliveryID string) string {
	_, id, _ := strings.Cut(deliveryID, "_")
	return id
}

// DeliveryRef names a delivery and, by its owner, the tombstone of its package, so that both can be read at once.
type DeliveryRef struct{ ID, Owner string }

// Ref names the delivery.
func (d *Delivery) Ref() DeliveryRef { return DeliveryRef{ID: d.ID, Owner: d.Owner} }

// AnswerTo returns the answer to a request if the delivery holds all of it: its claim came with it, and never changes.
func (d *Delivery) AnswerTo(requestID string) Answer {
	if d.Claim == nil || d.RequestID != requestID {
		return Answer{}
	}
	return Answer{Claims: []Claim{*d.Claim}}
}

// NewDelivery returns the pending delivery of a package claimed now. It ends with the request, with the package, or after ttl.
func NewDelivery(req *Request, p *Package, lastResort bool, ttl time.Duration, now time.Time) *Delivery {
	return &Delivery{
		ID: DeliveryID(req.ID, p.ID), Requester: req.Requester, Owner: p.Owner, PackageID: p.ID,
		DueShard:  shardOf(DeliveryID(req.ID, p.ID)),
		RequestID: req.ID, RequestIDs: []string{req.ID}, Hash: p.Hash, Suite: SuiteKey(p.Suite), Reserve: lastResort,
		Package: p.Document, PackageExpires: p.ExpiresAt, RequestedAt: req.ReceivedAt, CreatedAt: now,
		ExpiresAt: slices.MinFunc([]time.Time{now.Add(ttl), p.ExpiresAt, req.ValidUntil}, time.Time.Compare),
		State:     StatePending,
	}
}

// Whole reports whether a delivery that was read has what its end needs: whoever wrote it wrote all of it.
func (d *Delivery) Whole() bool {
	return d.PackageID == PackageOf(d.ID) && IsName(d.PackageID) && IsName(d.Hash) &&
		d.Owner != "" && IsName(TombstoneID(d.PackageID, d.Owner)) &&
		IsPubkey(d.Requester) && len(d.RequestIDs) > 0 && len(d.Package) > 0 && !d.ExpiresAt.IsZero()
}

// Event returns the signed event to deliver, or "" if the relay keeps it elsewhere.
func (d *Delivery) Event() string { return d.Package.Text(FieldEvent) }

// Open reports whether the delivery has not ended.
func (d *Delivery) Open() bool { return d.State == StatePending || d.State == StateSending }

// Joinable reports whether a repeated request may join the delivery.
func (d *Delivery) Joinable(now time.Time) bool {
	return d.Open() && !d.Parked && d.ExpiresAt.Sub(now) >= JoinMargin
}

// Leased reports whether somebody may be pushing the delivery right now. Nobody else may.
func (d *Delivery) Leased(now time.Time) bool {
	return d.State == StateSending && now.Before(d.LeaseUntil)
}

// Pushable reports whether a push may begin.
func (d *Delivery) Pushable(now time.Time) bool {
	return d.Open() && !d.Parked && !d.Leased(now) && now.Before(d.ExpiresAt)
}

// HeldBy reports whether that holder may be pushing the delivery: its BeginPush was committed, even if it never learnt so.
func (d *Delivery) HeldBy(holder string, now time.Time) bool {
	return d.Leased(now) && holder != "" && d.LeaseBy == holder
}

// BeginPush is the conditional write before a push: whoever commits it may push until the lease (Lease or LocalLease) ends. The
// holder is a random word of its own for each push, the same when the write is repeated. The delivery must be Pushable; a push
// that was begun before and never recorded may have reached the requester.
func (d *Delivery) BeginPush(now time.Time, holder string, lease time.Duration) {
	d.ExposureUnknown = d.ExposureUnknown || d.State == StateSending
	d.State = StateSending
	d.PushNo++
	d.LeaseUntil, d.LeaseBy = now.Add(lease), holder
}

// MaySend reports whether the writer of BeginPush, just before it sends, may still send what takes at most that time.
func (d *Delivery) MaySend(now time.Time, timeout time.Duration) bool {
	return now.Before(d.ExpiresAt) && now.Add(timeout).Before(d.LeaseUntil)
}

// Finish records how the push with that number ended. It reports whether the delivery changed. "Delivered" counts whatever push
// it answers; everything else only for the push that is under way, because another one may have begun since, whose exposure
// is not ours to deny. What comes after the end changes nothing but LastResult.
func (d *Delivery) Finish(pushNo int, result PushResult, now time.Time) bool {
	switch {
	case d.State == StateExpired:
		changed := d.LastResult != result
		d.LastResult = result
		return changed
	case d.State == StateDelivered:
		return false
	case result == ResultDelivered:
		d.DeliveredAt, d.LastResult, d.Attempts = now, result, d.Attempts+1
		d.end(StateDelivered, now)
		return true
	case d.State != StateSending || d.PushNo != pushNo:
		return false
	}
	d.State, d.LastResult = StatePending, result
	d.Parked = d.Parked || result.Parks()
	d.ExposureUnknown = d.ExposureUnknown || !result.Unseen()
	if result != ResultNotSent {
		d.Attempts++
	}
	return true
}

// Repeatable reports whether the delivery may be sent again to its requester. It exposes nothing: no lease, no record.
func (d *Delivery) Repeatable(now time.Time) bool {
	return d.State == StateDelivered && now.Before(d.ExpiresAt)
}

// retention is how long the document of an ended delivery is kept, for people who ask what became of it.
const retention = 7 * 24 * time.Hour

func (d *Delivery) end(state State, now time.Time) {
	d.State, d.FinishedAt, d.KeepUntil, d.DueShard = state, now, now.Add(retention), 0
}

// Join adds a request to an open delivery. Its end does not move. It reports whether the delivery changed.
func (d *Delivery) Join(requestID string) bool {
	if slices.Contains(d.RequestIDs, requestID) {
		return false
	}
	d.RequestIDs = append(slices.Clone(d.RequestIDs), requestID)
	return true
}

// LatestRequest is the last that joined: a push that names no request is made under it. The delivery must be Whole.
func (d *Delivery) LatestRequest() string { return d.RequestIDs[len(d.RequestIDs)-1] }
