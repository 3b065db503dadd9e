// Package trace tells what became of a request, to people who look after a deployment.
//
// trace.go is what is shown of it, tell.go and delivery.go sum it up in a sentence, print.go writes it down, and logs.go asks Cloud Logging
// for the rest.
package trace

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Trace is what is stored about a request, without the content of events.
type Trace struct {
	Request    string     `json:"request_event_id"`
	Summary    string     `json:"summary"` // what happened and what to do
	Document   *Document  `json:"document,omitempty"`
	Dismissal  *Dismissal `json:"dismissal,omitempty"`
	Claims     []Claim    `json:"claims"`
	Deliveries []Delivery `json:"deliveries"`
}

// Document is the request's document.
type Document struct {
	Requester  string             `json:"requester_pubkey,omitempty"` // "" if the event does not verify
	ReceivedAt time.Time          `json:"received_at"`
	StoredAt   time.Time          `json:"stored_at"`
	Open       bool               `json:"open"`
	Outcome    keypackage.Outcome `json:"outcome,omitempty"`
}

// Dismissal is that the request as a whole was rejected or only observed.
type Dismissal struct {
	Outcome   keypackage.Outcome `json:"outcome"`
	Reason    string             `json:"reason,omitempty"`
	CreatedAt time.Time          `json:"created_at,omitzero"`
	KeepUntil time.Time          `json:"keep_until,omitzero"`
}

// Claim is the answer for one owner.
type Claim struct {
	Owner     string            `json:"owner_pubkey"`
	Status    keypackage.Status `json:"status"`
	Reason    string            `json:"reason,omitempty"`
	Requested int               `json:"requested"`
	Granted   int               `json:"granted"`
	Reserve   bool              `json:"last_resort"`
	CreatedAt time.Time         `json:"created_at,omitzero"`
	RetryAt   time.Time         `json:"retry_at,omitzero"`
	KeepUntil time.Time         `json:"keep_until,omitzero"`
}

// Delivery is one KeyPackage on its way.
type Delivery struct {
	ID              string                `json:"id"`
	Owner           string                `json:"owner_pubkey"`
	State           keypackage.State      `json:"state"`
	Reason          string                `json:"reason,omitempty"`
	LastResult      keypackage.PushResult `json:"last_result,omitempty"`
	Reserve         bool                  `json:"last_resort"`
	Parked          bool                  `json:"parked"`
	ExposureUnknown bool                  `json:"exposure_unknown"`
	Pushes          int                   `json:"pushes"`   // begun
	Attempts        int                   `json:"attempts"` // sent
	JoinedFrom      string                `json:"joined_from,omitempty"`
	CreatedAt       time.Time             `json:"created_at"`
	LeaseUntil      time.Time             `json:"lease_until,omitzero"`
	ExpiresAt       time.Time             `json:"expires_at"`
	DeliveredAt     time.Time             `json:"delivered_at,omitzero"`
	FinishedAt      time.Time             `json:"finished_at,omitzero"`
	KeepUntil       time.Time             `json:"keep_until,omitzero"`
	Ledger          *Ledger               `json:"ledger,omitempty"`
	Tombstone       *Tombstone            `json:"tombstone,omitempty"`
}

// Ledger is what is remembered of the use of a KeyPackage.
type Ledger struct {
	Use       keypackage.Use `json:"use"`
	Delivery  string         `json:"delivery_id,omitempty"` // that used it first
	FirstUse  time.Time      `json:"first_use,omitzero"`
	KeepUntil time.Time      `json:"keep_until,omitzero"`
}

// Tombstone is that the owner has deleted a KeyPackage.
type Tombstone struct {
	DeletedAt time.Time `json:"deleted_at,omitzero"`
}

// New returns the trace of a request, as things stand at that time.
func New(requestID string, h store.History, now time.Time) Trace {
	t := Trace{Request: requestID, Summary: Tell(h, now), Claims: []Claim{}, Deliveries: []Delivery{}}
	if r := h.Request; r != nil {
		t.Document = &Document{
			ReceivedAt: r.ReceivedAt, StoredAt: r.Stored, Open: r.Open, Outcome: r.Outcome, Requester: authorOf(r.Event),
		}
	}
	if d := h.Answer.Dismissal; d != nil {
		t.Dismissal = &Dismissal{Outcome: d.Outcome, Reason: d.Reason, CreatedAt: d.CreatedAt, KeepUntil: d.KeepUntil}
	}
	for _, c := range h.Answer.Claims {
		t.Claims = append(t.Claims, Claim{
			Owner: c.Owner, Status: c.Status, Reason: c.Reason, Requested: c.Requested, Granted: c.Granted, Reserve: c.Reserve,
			CreatedAt: c.CreatedAt, RetryAt: c.RetryAt, KeepUntil: c.KeepUntil,
		})
	}
	for _, d := range h.Deliveries {
		t.Deliveries = append(t.Deliveries, newDelivery(requestID, d))
	}
	return t
}

func newDelivery(requestID string, h store.DeliveryHistory) Delivery {
	d := Delivery{
		ID: h.ID, Owner: h.Owner, State: h.State, Reason: h.Reason, LastResult: h.LastResult, Reserve: h.Reserve,
		Parked: h.Parked, ExposureUnknown: h.ExposureUnknown, Pushes: h.PushNo, Attempts: h.Attempts, CreatedAt: h.CreatedAt,
		LeaseUntil: h.LeaseUntil, ExpiresAt: h.ExpiresAt, DeliveredAt: h.DeliveredAt, FinishedAt: h.FinishedAt, KeepUntil: h.KeepUntil,
	}
	if h.RequestID != requestID {
		d.JoinedFrom = h.RequestID
	}
	if l := h.Ledger; l != nil {
		d.Ledger = &Ledger{Use: l.Use, Delivery: l.DeliveryID, FirstUse: l.FirstUse, KeepUntil: l.KeepUntil}
	}
	if h.Tombstoned {
		d.Tombstone = &Tombstone{DeletedAt: h.DeletedAt}
	}
	return d
}

// authorOf returns who has signed an event, or "".
func authorOf(raw string) string {
	event, err := keypackage.VerifyEvent(raw)
	if err != nil {
		return ""
	}
	return event.PubKey
}
