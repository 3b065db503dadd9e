// Package relayapi is the relay's internal delivery endpoint: the client, the server, and the Go form of the messages that cross
// it. openapi.yaml next to this file describes the same endpoint for people who write relays; a test holds the two together.
package relayapi

import (
	"encoding/json"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Path is where a relay serves the delivery endpoint.
const Path = "/internal/v1/deliveries"

// MaxRequestBytes is the size of a request body that every relay must accept; a larger one may be answered 413.
const MaxRequestBytes = 8 << 20

// DeliveryRequest asks the relay to hand deliveries to one requester and to tell it how its request ended.
type DeliveryRequest struct {
	RequestEventID  string `json:"request_event_id"` // id of the kind-447 event, hex
	RequesterPubkey string `json:"requester_pubkey"` // only sessions authenticated as this key see anything, hex

	// ExpiresAt is the moment, in Unix seconds, at which the relay drops every delivery of this request that it has not begun to write.
	ExpiresAt int64 `json:"expires_at"`

	Outcome    Outcome    `json:"outcome,omitzero"` // without rows there is nothing to tell
	Deliveries []Delivery `json:"deliveries"`       // may be empty when there is only an outcome to tell
}

// Delivery is one KeyPackage event for the requester.
type Delivery struct {
	ID                string `json:"id"` // names the delivery in the answer; the same id is sent to a session once
	KeyPackageEventID string `json:"keypackage_event_id"`
	OwnerPubkey       string `json:"owner_pubkey"`

	// Event is the signed event as a JSON string, written verbatim into the frame; empty: the relay has it, under KeyPackageEventID.
	Event string `json:"event,omitempty"`
}

// Outcome is how a request ended, one row per owner.
type Outcome struct {
	Rows []OutcomeRow `json:"rows"`
}

// OutcomeRow is what one owner's stock gave.
type OutcomeRow struct {
	Owner      string `json:"owner"`              // pubkey, hex
	Requested  int    `json:"requested"`          // KeyPackages asked for
	Granted    int    `json:"granted"`            // KeyPackages handed out, reserve and joined ones included
	LastResort bool   `json:"last_resort"`        // one of them is the owner's reserve
	Reason     string `json:"reason,omitempty"`   // why fewer than requested, a constant word
	RetryAt    int64  `json:"retry_at,omitempty"` // Unix seconds from which asking again makes sense

	KeyPackages []Granted `json:"keypackages"` // what was set aside; may be empty
}

// Granted names a KeyPackage that was set aside for the requester.
type Granted struct {
	ID         string `json:"id"`          // of its event, hex
	LastResort bool   `json:"last_resort"` // it is the owner's reserve
}

// DeliveryResponse is the body of a 200.
type DeliveryResponse struct {
	Results []Result `json:"results"`
}

// Result says what became of one delivery.
type Result struct {
	ID     string `json:"id"`
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"` // for people; never content
}

// Status is the relay's answer for one delivery. A negative answer speaks for the instance that was asked.
type Status = keypackage.PushResult

// The statuses. All negative ones but Unknown mean that nothing was written.
const (
	Delivered      = keypackage.ResultDelivered      // written to at least one of the requester's sessions, now or by an earlier push
	NoSession      = keypackage.ResultNoSession      // no session is authenticated as the requester
	NoSubscription = keypackage.ResultNoSubscription // sessions are open, but none of their filters matches the event
	UnknownEvent   = keypackage.ResultUnknownEvent   // the delivery carries no event and the relay has none of that id
	Rejected       = keypackage.ResultRejected       // and nothing ever will be: the event is invalid, not the one named, or deleted
	Unknown        = keypackage.ResultUnknown        // writing began and did not finish: the requester may or may not have the event
)

// Statuses are all of this contract.
var Statuses = []Status{Delivered, NoSession, NoSubscription, UnknownEvent, Rejected, Unknown}

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
	row := keypackage.Row{Owner: r.Owner, Requested: r.Requested, Granted: r.Granted, Reserve: r.LastResort, Reason: r.Reason}
	if r.RetryAt != 0 {
		row.RetryAt = time.Unix(r.RetryAt, 0)
	}
	for _, k := range r.KeyPackages {
		row.Packages = append(row.Packages, keypackage.Granted{ID: k.ID, Reserve: k.LastResort})
	}
	return row
}
