// Package relayapi is the relay's internal delivery endpoint: the client, the server, and the Go form of the messages that cross
// it. openapi.yaml next to this file describes the same endpoint for people who write relays; a test holds the two together.
package relayapi

import "slices"

// Path is where a relay serves the delivery endpoint.
const Path = "/internal/v1/deliveries"

// MaxRequestBytes is the size of a request body that every relay must accept; a larger one may be answered 413.
const MaxRequestBytes = 8 << 20

// DeliveryRequest asks the relay to hand deliveries to one requester and to tell it how its request ended.
type DeliveryRequest struct {
	RequestEventID  string `json:"request_event_id"` // id of the kind-447 event, hex
	RequesterPubkey string `json:"requester_pubkey"` // only sessions authenticated as this key see anything, hex

	// ExpiresAt is the moment, in Unix seconds, at which the relay drops every delivery of this request that it has not
	// begun to write.
	ExpiresAt int64 `json:"expires_at"`

	Outcome    Outcome    `json:"outcome,omitzero"` // without rows there is nothing to tell
	Deliveries []Delivery `json:"deliveries"`       // may be empty when there is only an outcome to tell
}

// Delivery is one KeyPackage event for the requester.
type Delivery struct {
	ID                string `json:"id"` // names the delivery in the answer; the same id is sent to a session once
	KeyPackageEventID string `json:"keypackage_event_id"`
	OwnerPubkey       string `json:"owner_pubkey"`

	// Event is the signed event as a JSON string, written verbatim into the websocket frame. Empty means that only the
	// relay has it, under KeyPackageEventID.
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
type Status string

const (
	// Delivered means written to at least one of the requester's sessions, now or by an earlier push.
	Delivered Status = "delivered"
	// NoSession means that nothing was written: no session is authenticated as the requester.
	NoSession Status = "no_session"
	// NoSubscription means that nothing was written: sessions are open, but none of their filters matches the event.
	NoSubscription Status = "no_subscription"
	// UnknownEvent means that nothing was written: the delivery carries no event and the relay has none of that id.
	UnknownEvent Status = "unknown_event"
	// Rejected means that nothing was written, and never will be: the event is invalid, not the one named, or deleted.
	Rejected Status = "rejected"
	// Unknown means that writing began and did not finish: the requester may or may not have the event.
	Unknown Status = "unknown"
)

// Known reports whether s is a status of this contract.
func (s Status) Known() bool {
	return slices.Contains([]Status{Delivered, NoSession, NoSubscription, UnknownEvent, Rejected, Unknown}, s)
}
