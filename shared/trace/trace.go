// Package trace tells what became of a request, to people who look after a deployment.
//
// trace.go is what is shown of it, tell.go and delivery.go sum it up in a sentence, and logs.go asks Cloud Logging for the rest.
package trace

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Trace is what is stored about a request, without the content of events.
type Trace struct {
	Request string `json:"request_event_id"`
	Summary string `json:"summary"` // what happened and what to do
	Parts   []Part `json:"parts"`   // the request's document, its claims, its deliveries
}

// Part is one document, with the fields that say something.
type Part struct {
	About  string  `json:"about"`
	Fields []Field `json:"fields"`
}

// Field is what a document says. Times are in UTC, RFC 3339 with milliseconds.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// New returns the trace of a request, as things stand at that time.
func New(requestID string, h store.History, now time.Time) Trace {
	parts := []Part{requestPart(requestID, h.Request)}
	if d := h.Answer.Dismissal; d != nil {
		parts = append(parts, part("dismissal of the whole request",
			Field{"outcome", withReason(d.Outcome, d.Reason)}, Field{"dismissed", moment(d.CreatedAt)}, Field{"kept until", moment(d.KeepUntil)}))
	}
	for _, c := range h.Answer.Claims {
		parts = append(parts, part("claim",
			Field{"owner", c.Owner},
			Field{"status", withReason(c.Status, c.Reason)},
			Field{"granted", fmt.Sprintf("%d of %d", c.Granted, c.Requested)},
			Field{"reserve", flag(c.Reserve, "among them")},
			Field{"claimed", moment(c.CreatedAt)},
			Field{"again after", moment(c.RetryAt)},
			Field{"kept until", moment(c.KeepUntil)}))
	}
	for _, d := range h.Deliveries {
		parts = append(parts, deliveryPart(requestID, d))
	}
	return Trace{requestID, Tell(h, now), parts}
}

func requestPart(id string, r *store.RequestHistory) Part {
	if r == nil {
		return part("request", Field{"id", id})
	}
	return part("request",
		Field{"id", id},
		Field{"requester", requesterOf(r)},
		Field{"received", moment(r.ReceivedAt)},
		Field{"stored", moment(r.Stored)},
		Field{"open", flag(r.Open, "without an outcome: the scheduled function looks for it")},
		Field{"outcome", string(r.Outcome)})
}

func deliveryPart(requestID string, d store.DeliveryHistory) Part {
	var joined, ledger, deleted string
	if d.RequestID != requestID {
		joined = d.RequestID
	}
	if l := d.Ledger; l != nil {
		ledger = fmt.Sprintf("%s since %s", l.Use, at(l.FirstUse))
	}
	if d.Tombstoned {
		deleted = cmp.Or(moment(d.DeletedAt), "by its owner")
	}
	return part("delivery",
		Field{"id", d.ID},
		Field{"owner", d.Owner},
		Field{"state", withReason(d.State, d.Reason)},
		Field{"last result", string(d.LastResult)},
		Field{"pushes", fmt.Sprintf("%d begun, %d sent", d.PushNo, d.Attempts)},
		Field{"parked", flag(d.Parked, "it is not pushed again")},
		Field{"exposed", flag(d.ExposureUnknown, "perhaps: a push ended without a clear answer")},
		Field{"reserve", flag(d.Reserve, "it stays in stock")},
		Field{"joined", joined},
		Field{"created", moment(d.CreatedAt)},
		Field{"leased until", moment(d.LeaseUntil)},
		Field{"expires", moment(d.ExpiresAt)},
		Field{"delivered", moment(d.DeliveredAt)},
		Field{"finished", moment(d.FinishedAt)},
		Field{"kept until", moment(d.KeepUntil)},
		Field{"ledger", ledger},
		Field{"deleted", deleted})
}

// part leaves out the fields that say nothing.
func part(about string, fields ...Field) Part {
	return Part{about, slices.DeleteFunc(fields, func(f Field) bool { return f.Value == "" })}
}

func flag(set bool, meaning string) string {
	if set {
		return meaning
	}
	return ""
}

func withReason[S ~string](state S, reason string) string {
	if reason == "" {
		return string(state)
	}
	return string(state) + " (" + reason + ")"
}

// moment is the time of a field, "" if it is not set.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// requesterOf returns who has signed the request, or "".
func requesterOf(r *store.RequestHistory) string {
	if event, err := keypackage.VerifyEvent(r.Event); err == nil {
		return event.PubKey
	}
	return ""
}

// Print writes the trace for people.
func (t Trace) Print(w io.Writer) error {
	var text bytes.Buffer
	fmt.Fprintln(&text, t.Summary)
	for _, p := range t.Parts {
		fmt.Fprintf(&text, "\n%s\n", p.About)
		for _, f := range p.Fields {
			fmt.Fprintf(&text, "  %-12s  %s\n", f.Name, f.Value)
		}
	}
	_, err := text.WriteTo(w)
	return err
}
