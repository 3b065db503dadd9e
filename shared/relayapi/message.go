package relayapi

import (
	"encoding/json"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// message returns a push as it crosses the endpoint.
func message(push delivering.Push) DeliveryRequest {
	return DeliveryRequest{
		RequestEventID: push.RequestID, RequesterPubkey: push.Requester, ExpiresAt: push.ExpiresAt.Unix(),
		Outcome: Outcome{Rows: outcomeRows(push.Outcome)}, Deliveries: deliveries(push.Deliveries),
	}
}

func outcomeRows(rows []keypackage.Row) []OutcomeRow {
	var out []OutcomeRow
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
		out = append(out, r)
	}
	return out
}

// OutcomeContent is the content of the event by which a relay tells the requester an outcome.
func OutcomeContent(rows []keypackage.Row) (string, error) {
	content, err := json.Marshal(Outcome{Rows: outcomeRows(rows)})
	return string(content), err
}

// deliveries is a list also if there are none.
func deliveries(pushed []*keypackage.Delivery) []Delivery {
	out := make([]Delivery, len(pushed))
	for i, d := range pushed {
		out[i] = Delivery{ID: d.ID, KeyPackageEventID: d.PackageID, OwnerPubkey: d.Owner, Event: d.Event()}
	}
	return out
}
