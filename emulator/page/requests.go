package page

import (
	"cmp"
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
		switch r.Way = "447, functions"; {
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
	ended := d.DeliveredAt
	if ended.IsZero() {
		ended = time.Now()
	}
	if at := d.LeaseUntil.Add(-keypackage.LocalLease); !at.After(ended) {
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
