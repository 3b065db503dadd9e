package keypackage

import (
	"slices"
	"time"
)

// Pair is what is known about one requester and one owner. The values that it points to are never changed, only replaced.
type Pair struct {
	Requester string         `firestore:"requester_pubkey"`
	Owner     string         `firestore:"owner_pubkey"`
	Requests  Window         `firestore:"requests"`
	Open      []OpenDelivery `firestore:"open"`
	LastREQ   *REQGrant      `firestore:"last_req"` // nil if there is none that matters any more
	KeepUntil time.Time      `firestore:"keep_until,omitempty"`
	Version   time.Time      `firestore:"-"` // update time; zero if there is no document
}

// PairRetention is how long a pair's document is kept after its last change: longer than the window and any open delivery.
const PairRetention = 24 * time.Hour

// OpenDelivery points to a delivery that a repeated request may join.
type OpenDelivery struct {
	DeliveryID string    `firestore:"delivery_id"`
	Ask        string    `firestore:"ask"`
	ExpiresAt  time.Time `firestore:"expires_at,omitempty"`
}

// JoinMargin is how long a delivery must still be open for a repeated request to join it.
const JoinMargin = 30 * time.Second

// REQGrant is what a REQ was given that asked for one package of the owner (see NewREQ).
type REQGrant struct {
	DeliveryID string    `firestore:"delivery_id"`
	Suite      string    `firestore:"ciphersuite"` // SuiteKey
	Reserve    bool      `firestore:"last_resort"`
	At         time.Time `firestore:"at,omitempty"`
	ExpiresAt  time.Time `firestore:"expires_at,omitempty"`
	JoinedBy   string    `firestore:"joined_by"` // the first 447 after it, which counts it as its own; "" if none has come
}

// REQMemory is how long a REQ that is asked again brings the same package, and how long a 447 joins what a REQ was given:
// ordinary clients subscribe again and again on a bad line, and subscribe first and ask then.
const REQMemory = time.Minute

// Recent reports whether the grant still counts.
func (g *REQGrant) Recent(now time.Time) bool {
	return g != nil && now.Sub(g.At) < REQMemory && now.Before(g.ExpiresAt)
}

// Joinable returns the ids of the deliveries that the request may join, or be given again.
func (p Pair) Joinable(req *Request) (ids []string) {
	for _, open := range p.Open {
		if open.Ask == req.Ask {
			ids = append(ids, open.DeliveryID)
		}
	}
	if last := p.LastREQ; last != nil && (req.REQ || last.JoinedBy == "") {
		ids = append(ids, last.DeliveryID)
	}
	return ids
}

// maxOpen bounds the open deliveries that a pair's document remembers, of some 300 bytes each, far below Firestore's 1 MiB: at
// the highest settings a requester who varies the group could have 100,000 of them in an hour.
const maxOpen = 1000

// Prune drops what no request can join any more, and of too many open deliveries the oldest, which are then claimed anew.
func (p *Pair) Prune(now time.Time) {
	if !p.LastREQ.Recent(now) {
		p.LastREQ = nil
	}
	p.Open = slices.DeleteFunc(p.Open, func(o OpenDelivery) bool { return o.ExpiresAt.Sub(now) < JoinMargin })
	p.Open = p.Open[max(0, len(p.Open)-maxOpen):]
}
