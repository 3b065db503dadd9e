package page

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// state is everything that the page shows at a time. No list is null: the browser reads them all.
type state struct {
	People     []person          `json:"people"`
	Names      map[string]string `json:"names"` // of those whom the page plays, by public key
	Offline    int               `json:"offline"`
	Requests   []*request        `json:"requests"`   // newest first
	Deliveries map[string]int    `json:"deliveries"` // by state, of those that are shown
	Waiting    []waiting         `json:"waiting"`
	Functions  []*function       `json:"functions"`
}

// person is an owner and her stock by ciphersuite.
type person struct {
	Pubkey string               `json:"pubkey"`
	Stock  []keypackage.Holding `json:"stock"`
}

// waiting is a delivery that has not ended.
type waiting struct {
	ID        string    `json:"id"`
	Requester string    `json:"requester"`
	Owner     string    `json:"owner"`
	Because   string    `json:"because"`
	Until     time.Time `json:"until"`
}

// Bounds of what is shown, so that a suite that is under load can be watched, too.
const (
	requestsShown   = 40
	deliveriesShown = 200
	stockRead       = 1000 // packages, whose owners are looked at
	peopleShown     = 16
)

// stockAge is for how long a stock is not read again: sixteen of them cost more reads than all the rest.
const stockAge = time.Second

// shownOfDelivery is all of a delivery but the package.
var shownOfDelivery = []string{
	"requester_pubkey", "keypackage_owner_pubkey", "keypackage_event_id", "request_event_id", "request_ids", "requested_at", "created_at",
	"expires_at", "state", "lease_until", "parked", "last_result", "reason", "delivered_at",
}

// look returns the state as JSON, or nil if it cannot be read. Whoever looks soon after somebody else is given the same.
func (p *Page) look(ctx context.Context) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < refresh {
		return p.encoded
	}
	encoded, _ := p.read(ctx)
	if ctx.Err() != nil {
		return nil // of the one who looked, which says nothing to others
	}
	p.at, p.encoded = time.Now(), encoded
	return encoded
}

func (p *Page) read(ctx context.Context) ([]byte, error) {
	names := p.system.Config().Collections
	newest := func(collection, by string, limit int) firestore.Query {
		return p.client.Collection(collection).OrderBy(by, firestore.Desc).Limit(limit)
	}
	var found [4][]*firestore.DocumentSnapshot
	for i, query := range [len(found)]firestore.Query{
		newest(names.Requests, keypackage.FieldReceivedAt, requestsShown).Select(keypackage.FieldReceivedAt),
		newest(names.Claims, "created_at", deliveriesShown),
		newest(names.Deliveries, "created_at", deliveriesShown).Select(shownOfDelivery...),
		p.client.Collection(names.KeyPackages).Limit(stockRead).Select(keypackage.FieldOwner),
	} {
		var err error
		if found[i], err = query.Documents(ctx).GetAll(); err != nil {
			return nil, err
		}
	}
	claims, deliveries := decode[keypackage.Claim](found[1]), decode[keypackage.Delivery](found[2])
	s := state{Requests: requests(found[0], claims, deliveries), Deliveries: map[string]int{}, Waiting: []waiting{}, Functions: p.functions}
	for _, d := range deliveries {
		s.Deliveries[stateOf(&d)]++
		if d.Open() {
			s.Waiting = append(s.Waiting, waiting{
				keypackage.DeliveryID(d.RequestID, d.PackageID), d.Requester, d.Owner,
				cmp.Or(string(d.LastResult), "not pushed yet"), d.ExpiresAt,
			})
		}
	}
	s.Names, s.Offline = p.people.known(), len(p.people.offline)
	var err error
	if s.People, err = p.stocks(ctx, owners(found[3], claims), s.Names); err != nil {
		return nil, err
	}
	for _, f := range p.functions {
		if err := f.follow(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(s)
}

// decode reads documents of ours; what somebody else has changed beyond reading is left out.
func decode[T any](snaps []*firestore.DocumentSnapshot) (all []T) {
	for _, snap := range snaps {
		var one T
		if snap.DataTo(&one) == nil {
			all = append(all, one)
		}
	}
	return all
}

func stateOf(d *keypackage.Delivery) string {
	switch {
	case d.Open() && d.Parked:
		return "parked"
	case d.Reason != "":
		return string(d.State) + " (" + d.Reason + ")"
	}
	return string(d.State)
}

// owners returns who has something in stock or was asked, without rubbish.
func owners(stock []*firestore.DocumentSnapshot, claims []keypackage.Claim) map[string]bool {
	all := map[string]bool{}
	for _, snap := range stock {
		all[keypackage.Document(snap.Data()).Text(keypackage.FieldOwner)] = true
	}
	for _, claim := range claims {
		all[claim.Owner] = true
	}
	maps.DeleteFunc(all, func(pubkey string, _ bool) bool { return !keypackage.IsPubkey(pubkey) })
	return all
}

// stocks reads what owners have, those first who have a name, and leaves out who is too many.
func (p *Page) stocks(ctx context.Context, owners map[string]bool, names map[string]string) ([]person, error) {
	if time.Since(p.stockedAt) < stockAge {
		return p.stocked, nil
	}
	all := slices.SortedFunc(maps.Keys(owners), func(a, b string) int {
		return cmp.Or(-cmp.Compare(names[a], names[b]), cmp.Compare(a, b))
	})
	people := []person{}
	for _, owner := range all[:min(len(all), peopleShown)] {
		stock, err := p.store.Holdings(ctx, owner, time.Now())
		if err != nil {
			return nil, err
		}
		people = append(people, person{owner, append([]keypackage.Holding{}, stock...)})
	}
	p.stocked, p.stockedAt = people, time.Now()
	return people, nil
}
