package keypackage

import (
	"slices"
	"time"
)

// Pair is what is known about one requester and one owner: how often the one asked for the other, and which deliveries
// are still open.
type Pair struct {
	Requester string         `firestore:"requester_pubkey"`
	Owner     string         `firestore:"owner_pubkey"`
	Requests  Window         `firestore:"requests"`
	Open      []OpenDelivery `firestore:"open"`
	KeepUntil time.Time      `firestore:"keep_until,omitempty"`
	Version   time.Time      `firestore:"-"` // update time of the document; zero if there is none
}

// CountsRetention is how long the documents of pairs and owners are kept after their last change: longer than the window
// and than any open delivery.
const CountsRetention = 24 * time.Hour

// OpenDelivery points to a delivery that a repeated request may join.
type OpenDelivery struct {
	DeliveryID string    `firestore:"delivery_id"`
	Ask        string    `firestore:"ask"`
	ExpiresAt  time.Time `firestore:"expires_at,omitempty"`
}

// JoinMargin is how long a delivery must still be open for a repeated request to join it.
const JoinMargin = 30 * time.Second

// Prune drops the deliveries that nobody can join any more.
func (p *Pair) Prune(now time.Time) {
	p.Open = slices.DeleteFunc(p.Open, func(o OpenDelivery) bool { return o.ExpiresAt.Sub(now) < JoinMargin })
}

// Owner is what is known about one owner across requests.
type Owner struct {
	Pubkey    string    `firestore:"owner_pubkey"`
	HandedOut Window    `firestore:"handed_out"` // one-time packages
	KeepUntil time.Time `firestore:"keep_until,omitempty"`
	Version   time.Time `firestore:"-"` // update time of the document; zero if there is none
}
