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
	stockAge        = time.Second // before a stock is read again: sixteen of them cost more reads than all the rest
)

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
	if s.People, err = p.stocks(ctx, found[3], claims, s.Names); err != nil {
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

// stocks reads what those have who have something in stock or were asked: first who has a name, and nobody who is too many.
func (p *Page) stocks(
	ctx context.Context, stock []*firestore.DocumentSnapshot, claims []keypackage.Claim, names map[string]string,
) ([]person, error) {
	if time.Since(p.stockedAt) < stockAge {
		return p.stocked, nil
	}
	var owners []string
	for _, snap := range stock {
		owners = append(owners, keypackage.Document(snap.Data()).Text(keypackage.FieldOwner))
	}
	for _, claim := range claims {
		owners = append(owners, claim.Owner)
	}
	owners = slices.DeleteFunc(owners, func(rubbish string) bool { return !keypackage.IsPubkey(rubbish) })
	slices.SortFunc(owners, func(a, b string) int { return cmp.Or(cmp.Compare(names[b], names[a]), cmp.Compare(a, b)) })
	owners = slices.Compact(owners)
	people := []person{}
	for _, owner := range owners[:min(len(owners), peopleShown)] {
		holdings, err := p.store.Holdings(ctx, owner, time.Now())
		if err != nil {
			return nil, err
		}
		people = append(people, person{owner, append([]keypackage.Holding{}, holdings...)})
	}
	p.stocked, p.stockedAt = people, time.Now()
	return people, nil
}

// request is one line: how far a request is. The steps are in milliseconds since the relay received it; nil is not yet.
type request struct {
	ID        string    `json:"id"`
	Way       string    `json:"way"`
	Requester string    `json:"requester"`
	Owners    []string  `json:"owners"`
	Received  time.Time `json:"received"`
	Outcome   string    `json:"outcome"`
	Requested int       `json:"requested"`
	Granted   int       `json:"granted"`
	Delivered int       `json:"delivered"`
	Open      int       `json:"open"`  // deliveries that have not ended
	Claim     *float64  `json:"claim"` // the last owner's
	Push      *float64  `json:"push"`  // the last that began
	Frame     *float64  `json:"frame"` // the last that the relay has written
}

// requests tells of each request, newest first.
func requests(documents []*firestore.DocumentSnapshot, claims []keypackage.Claim, deliveries []keypackage.Delivery) []*request {
	byID := map[string]*request{}
	for _, snap := range documents {
		doc := keypackage.ReadRequestDocument(snap.Ref.ID, snap.Data(), snap.CreateTime)
		byID[doc.ID] = &request{ID: doc.ID, Way: "447", Received: doc.ReceivedAt}
	}
	answers := map[string][]keypackage.Claim{}
	for _, c := range claims {
		answers[c.RequestID] = append(answers[c.RequestID], c)
		if byID[c.RequestID] == nil { // a REQ, or one whose document is gone
			byID[c.RequestID] = &request{ID: c.RequestID, Received: c.CreatedAt}
		}
	}
	for _, d := range deliveries { // only they know when a REQ came
		if r := byID[d.RequestID]; r != nil && !d.RequestedAt.IsZero() && d.RequestedAt.Before(r.Received) {
			r.Received = d.RequestedAt
		}
	}
	for id, claims := range answers {
		byID[id].claimed(claims)
	}
	for _, d := range deliveries {
		for _, id := range d.RequestIDs {
			if r := byID[id]; r != nil {
				r.delivers(&d)
			}
		}
	}
	all := slices.AppendSeq([]*request{}, maps.Values(byID))
	slices.SortFunc(all, func(a, b *request) int { return cmp.Or(b.Received.Compare(a.Received), cmp.Compare(a.ID, b.ID)) })
	return all[:min(len(all), requestsShown)]
}

func (r *request) claimed(claims []keypackage.Claim) {
	answer := keypackage.Answer{Claims: claims}
	if first := claims[0]; first.Owner == "" { // it stands for no unit: the request was dismissed as a whole
		answer = keypackage.Answer{Dismissal: &keypackage.Dismissal{Outcome: keypackage.Outcome(first.Status)}}
	}
	if answer.Complete() {
		r.Outcome = string(answer.Outcome())
	}
	for _, c := range claims {
		r.Requester, r.Owners = c.Requester, c.Owners
		r.Requested, r.Granted = r.Requested+c.Requested, r.Granted+c.Granted
		r.later(&r.Claim, c.CreatedAt)
		r.Way = "447, functions"
		switch {
		case c.Owner != "" && !c.Authentic: // nobody has signed it
			r.Way = "REQ"
		case c.Gateway:
			r.Way = "447, gateway"
		}
	}
}

func (r *request) delivers(d *keypackage.Delivery) {
	switch {
	case d.State == keypackage.StateDelivered:
		r.Delivered++
		r.later(&r.Frame, d.DeliveredAt)
	case d.Open():
		r.Open++
	}
	if d.State == keypackage.StateSending || d.State == keypackage.StateDelivered {
		r.later(&r.Push, begun(d))
	}
}

// begun is when the last push of a delivery began. Only the end of its lease is recorded: a push from the gateway has the
// shorter one, and a longer one that ends late would have begun after its own end.
func begun(d *keypackage.Delivery) time.Time {
	if at := d.LeaseUntil.Add(-keypackage.LocalLease); !at.After(cmp.Or(d.DeliveredAt, time.Now())) {
		return at
	}
	return d.LeaseUntil.Add(-keypackage.Lease)
}

// later sets a step to the time, if it is the last of its kind. What a request has joined may have happened before it.
func (r *request) later(step **float64, t time.Time) {
	ms := float64(max(0, t.Sub(r.Received)).Microseconds()) / 1000
	if *step == nil || **step < ms {
		*step = &ms
	}
}
