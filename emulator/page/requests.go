package page

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

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

// waiting is a delivery that has not ended.
type waiting struct {
	ID        string    `json:"id"`
	Request   string    `json:"request"`
	Requester string    `json:"requester"`
	Owner     string    `json:"owner"`
	Because   string    `json:"because"`
	Until     time.Time `json:"until"`
}

// documents is what was read, without anybody's content.
type documents struct {
	requests   []keypackage.RequestDocument
	claims     []keypackage.Claim
	deliveries []keypackage.Delivery
	owners     map[string]bool
}

// shownOfDelivery is all of a delivery but the package.
var shownOfDelivery = []string{
	"requester_pubkey", "keypackage_owner_pubkey", "keypackage_event_id", "request_event_id", "request_ids", "requested_at", "created_at",
	"expires_at", "state", "lease_until", "parked", "last_result", "reason", "delivered_at",
}

func (p *Page) documents(ctx context.Context) (*documents, error) {
	names, d := p.system.Config().Collections, &documents{owners: map[string]bool{}}
	newest := func(collection, by string, limit int, fields ...string) firestore.Query {
		return p.client.Collection(collection).OrderBy(by, firestore.Desc).Select(fields...).Limit(limit)
	}
	requests, err := newest(names.Requests, keypackage.FieldReceivedAt, requestsShown, keypackage.FieldReceivedAt).Documents(ctx).GetAll()
	if err != nil {
		return nil, err
	}
	for _, snap := range requests {
		d.requests = append(d.requests, keypackage.ReadRequestDocument(snap.Ref.ID, snap.Data(), snap.CreateTime))
	}
	claims := p.client.Collection(names.Claims).OrderBy("created_at", firestore.Desc).Limit(deliveriesShown)
	if d.claims, err = decode[keypackage.Claim](claims.Documents(ctx)); err != nil {
		return nil, err
	}
	deliveries := newest(names.Deliveries, "created_at", deliveriesShown, shownOfDelivery...)
	if d.deliveries, err = decode[keypackage.Delivery](deliveries.Documents(ctx)); err != nil {
		return nil, err
	}
	stock, err := p.client.Collection(names.KeyPackages).Select(keypackage.FieldOwner).Limit(stockRead).Documents(ctx).GetAll()
	if err != nil {
		return nil, err
	}
	for _, snap := range stock {
		d.own(keypackage.Document(snap.Data()).Text(keypackage.FieldOwner))
	}
	for _, claim := range d.claims {
		d.own(claim.Owner)
	}
	return d, nil
}

// own notes an owner, unless it is rubbish.
func (d *documents) own(pubkey string) {
	if keypackage.IsPubkey(pubkey) {
		d.owners[pubkey] = true
	}
}

// decode reads documents of ours; what somebody else has changed beyond reading is left out.
func decode[T any](found *firestore.DocumentIterator) ([]T, error) {
	snaps, err := found.GetAll()
	var all []T
	for _, snap := range snaps {
		var one T
		if snap.DataTo(&one) == nil {
			all = append(all, one)
		}
	}
	return all, err
}

// lines tells of each request, newest first.
func (d *documents) lines() []*request {
	byID := map[string]*request{}
	for _, doc := range d.requests {
		byID[doc.ID] = &request{ID: doc.ID, Way: "447", Received: doc.ReceivedAt}
	}
	claims := map[string][]keypackage.Claim{}
	for _, c := range d.claims {
		claims[c.RequestID] = append(claims[c.RequestID], c)
		if byID[c.RequestID] == nil { // a REQ, or one whose document is gone
			byID[c.RequestID] = &request{ID: c.RequestID, Received: c.CreatedAt}
		}
	}
	for _, delivery := range d.deliveries { // only they know when a REQ came
		if r := byID[delivery.RequestID]; r != nil && !delivery.RequestedAt.IsZero() && delivery.RequestedAt.Before(r.Received) {
			r.Received = delivery.RequestedAt
		}
	}
	for id, all := range claims {
		byID[id].claimed(all)
	}
	for _, delivery := range d.deliveries {
		for _, id := range delivery.RequestIDs {
			if r := byID[id]; r != nil {
				r.delivers(&delivery)
			}
		}
	}
	lines := slices.AppendSeq([]*request{}, maps.Values(byID)) // never null for the browser
	slices.SortFunc(lines, func(a, b *request) int {
		return cmp.Or(b.Received.Compare(a.Received), cmp.Compare(a.ID, b.ID))
	})
	return lines[:min(len(lines), requestsShown)]
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
		r.Way = way(c)
	}
}

func way(c keypackage.Claim) string {
	switch {
	case c.Owner != "" && !c.Authentic: // nobody has signed it
		return "REQ"
	case c.Gateway:
		return "447, gateway"
	}
	return "447, functions"
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
	at := d.LeaseUntil.Add(-keypackage.LocalLease)
	if !d.DeliveredAt.IsZero() && at.After(d.DeliveredAt) || d.DeliveredAt.IsZero() && at.After(time.Now()) {
		return d.LeaseUntil.Add(-keypackage.Lease)
	}
	return at
}

// later sets a step to the time, if it is the last of its kind. What a request has joined may have happened before it.
func (r *request) later(step **float64, t time.Time) {
	ms := float64(max(0, t.Sub(r.Received)).Microseconds()) / 1000
	if *step == nil || **step < ms {
		*step = &ms
	}
}

// states counts deliveries by state.
func (d *documents) states() map[string]int {
	count := map[string]int{}
	for _, delivery := range d.deliveries {
		count[stateOf(&delivery)]++
	}
	return count
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

func (d *documents) waiting() []waiting {
	all := []waiting{}
	for _, w := range d.deliveries {
		if w.Open() {
			all = append(all, waiting{
				keypackage.DeliveryID(w.RequestID, w.PackageID), w.RequestID, w.Requester, w.Owner,
				cmp.Or(string(w.LastResult), "not pushed yet"), w.ExpiresAt,
			})
		}
	}
	return all
}
