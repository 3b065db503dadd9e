// Package trace tells what became of a request, to people who look after a deployment: trace.go is what is shown of it, and asks Cloud
// Logging for the rest; tell.go sums it up in a sentence.
package trace

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
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
			"outcome", withReason(d.Outcome, d.Reason), "dismissed", moment(d.CreatedAt), "kept until", moment(d.KeepUntil)))
	}
	for _, c := range h.Answer.Claims {
		parts = append(parts, part("claim", "owner", c.Owner, "status", withReason(c.Status, c.Reason),
			"granted", fmt.Sprintf("%d of %d", c.Granted, c.Requested), "reserve", flag(c.Reserve, "among them"),
			"claimed", moment(c.CreatedAt), "again after", moment(c.RetryAt), "kept until", moment(c.KeepUntil)))
	}
	for _, d := range h.Deliveries {
		parts = append(parts, deliveryPart(requestID, d))
	}
	return Trace{requestID, Tell(h, now), parts}
}

func requestPart(id string, r *store.RequestHistory) Part {
	if r == nil {
		return part("request", "id", id)
	}
	return part("request", "id", id, "requester", requesterOf(r), "received", moment(r.ReceivedAt), "stored", moment(r.Stored),
		"open", flag(r.Open, "without an outcome: the scheduled function looks for it"), "outcome", string(r.Outcome))
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
	return part("delivery", "id", d.ID, "owner", d.Owner, "state", withReason(d.State, d.Reason), "last result", string(d.LastResult),
		"pushes", fmt.Sprintf("%d begun, %d sent", d.PushNo, d.Attempts),
		"parked", flag(d.Parked, "it is not pushed again"),
		"exposed", flag(d.ExposureUnknown, "perhaps: a push ended without a clear answer"),
		"reserve", flag(d.Reserve, "it stays in stock"), "joined", joined,
		"created", moment(d.CreatedAt), "leased until", moment(d.LeaseUntil), "expires", moment(d.ExpiresAt),
		"delivered", moment(d.DeliveredAt), "finished", moment(d.FinishedAt), "kept until", moment(d.KeepUntil),
		"ledger", ledger, "deleted", deleted)
}

// part takes names of fields and their values in turn, and leaves out the fields that say nothing.
func part(about string, fields ...string) Part {
	p := Part{About: about}
	for field := range slices.Chunk(fields, 2) {
		if field[1] != "" {
			p.Fields = append(p.Fields, Field{field[0], field[1]})
		}
	}
	return p
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

// around is how much longer than the request's own times the logs are searched: clocks differ, and what ends late is told late.
const around = 5 * time.Minute

// Query is a query for Logs Explorer, or `gcloud logging read`, for what the functions have said about the request. Pushes that
// repeat what is pending name the requester only.
func Query(requestID string, h store.History) string {
	about := fmt.Sprintf("jsonPayload.request_event_id=%q", requestID)
	var times []time.Time
	if h.Request != nil {
		times = append(times, h.Request.ReceivedAt, h.Request.Stored)
		if requester := requesterOf(h.Request); requester != "" {
			about = fmt.Sprintf("(%s OR jsonPayload.requester_pubkey=%q)", about, requester)
		}
	}
	for _, c := range h.Answer.Claims {
		times = append(times, c.CreatedAt)
	}
	for _, d := range h.Deliveries {
		times = append(times, d.CreatedAt, d.ExpiresAt, d.FinishedAt)
	}
	lines := []string{`resource.type="cloud_run_revision"`, "labels.function:*", about}
	if times = slices.DeleteFunc(times, time.Time.IsZero); len(times) > 0 {
		first, last := slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare)
		lines = append(lines, fmt.Sprintf("timestamp>=%q\ntimestamp<=%q", at(first.Add(-around)), at(last.Add(around))))
	}
	return strings.Join(lines, "\n")
}
