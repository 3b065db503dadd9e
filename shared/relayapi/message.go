package relayapi

import (
	"encoding/json"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// message returns a push as it crosses the endpoint.
func message(push delivering.Push) DeliveryRequest {
	r := DeliveryRequest{
		RequestEventID: push.RequestID, RequesterPubkey: push.Requester, ExpiresAt: push.ExpiresAt.Unix(),
		Outcome: outcome(push.Outcome), Deliveries: make([]Delivery, len(push.Deliveries)), // a list also if there are none
	}
	for i, d := range push.Deliveries {
		r.Deliveries[i] = Delivery{ID: d.ID, KeyPackageEventID: d.PackageID, OwnerPubkey: d.Owner, Event: d.Event()}
	}
	return r
}

// OutcomeContent is the content of the event by which a relay tells the requester an outcome.
func OutcomeContent(rows []keypackage.Row) (string, error) {
	content, err := json.Marshal(outcome(rows))
	return string(content), err
}

func outcome(rows []keypackage.Row) (o Outcome) {
	for _, row := range rows {
		r := OutcomeRow{
			Owner: row.Owner, Requested: row.Requested, Granted: row.Granted, LastResort: row.Reserve, Reason: row.Reason,
			KeyPackages: make([]Granted, len(row.Packages)),
		}
		for i, p := range row.Packages {
			r.KeyPackages[i] = Granted{ID: p.ID, LastResort: p.Reserve}
		}
		if !row.RetryAt.IsZero() {
			r.RetryAt = row.RetryAt.Unix()
		}
		o.Rows = append(o.Rows, r)
	}
	return o
}

// push is what message made the request of.
func (r DeliveryRequest) push() delivering.Push {
	push := delivering.Push{RequestID: r.RequestEventID, Requester: r.RequesterPubkey, ExpiresAt: time.Unix(r.ExpiresAt, 0)}
	for _, row := range r.Outcome.Rows {
		push.Outcome = append(push.Outcome, row.row())
	}
	for _, d := range r.Deliveries {
		push.Deliveries = append(push.Deliveries, &keypackage.Delivery{
			ID: d.ID, PackageID: d.KeyPackageEventID, Owner: d.OwnerPubkey, Requester: r.RequesterPubkey,
			Package: keypackage.Document{keypackage.FieldEvent: d.Event}, ExpiresAt: push.ExpiresAt,
		})
	}
	return push
}

func (r OutcomeRow) row() keypackage.Row {
	row := keypackage.Row{
		Owner: r.Owner, Requested: r.Requested, Granted: r.Granted, Reserve: r.LastResort, Reason: r.Reason,
	}
	if r.RetryAt != 0 {
		row.RetryAt = time.Unix(r.RetryAt, 0)
	}
	for _, k := range r.KeyPackages {
		row.Packages = append(row.Packages, keypackage.Granted{ID: k.ID, Reserve: k.LastResort})
	}
	return row
}
