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

// Retention of the documents of pairs and owners after their last change. A pair's outlives the window and any open
// delivery; an owner's outlives any package that its levels speak of.
const (
	PairRetention  = 24 * time.Hour
	OwnerRetention = 90 * 24 * time.Hour
)

// OpenDelivery points to a delivery that a repeated request may join.
type OpenDelivery struct {
	DeliveryID string    `firestore:"delivery_id"`
	Ask        string    `firestore:"ask"`
	ExpiresAt  time.Time `firestore:"expires_at,omitempty"`
}

// JoinMargin is how long a delivery must still be open for a repeated request to join it.
const JoinMargin = 30 * time.Second

// maxOpen is how many open deliveries a pair's document remembers, each with some 300 bytes: at the highest settings a
// requester who varies the group could have 100,000 of them in an hour, and Firestore's documents have at most 1 MiB.
const maxOpen = 1000

// Prune drops the deliveries that nobody can join any more, and of too many the oldest: who asks for them again is given
// others.
func (p *Pair) Prune(now time.Time) {
	p.Open = slices.DeleteFunc(p.Open, func(o OpenDelivery) bool { return o.ExpiresAt.Sub(now) < JoinMargin })
	p.Open = p.Open[max(0, len(p.Open)-maxOpen):]
}

// Owner is what is known about one owner across requests.
type Owner struct {
	Pubkey    string `firestore:"owner_pubkey"`
	HandedOut Window `firestore:"handed_out"` // one-time packages

	Supplies map[string]Supply `firestore:"supplies"` // by ciphersuite (SuiteKey)
	Pending  bool              `firestore:"pending"`  // there are unannounced supplies
	Stocked  bool              `firestore:"stocked"`  // she had a package when one was last asked for

	KeepUntil time.Time `firestore:"keep_until,omitempty"`
	Version   time.Time `firestore:"-"` // update time of the document; zero if there is none
}
