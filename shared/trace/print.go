package trace

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// Print writes the trace for people.
func (t Trace) Print(w io.Writer) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s\n\nrequest %s\n", t.Summary, t.Request)
	p := printer{&text}
	if d := t.Document; d != nil {
		p.text("requester", d.Requester)
		p.time("received", d.ReceivedAt)
		p.time("stored", d.StoredAt)
		p.flag("open", d.Open, "without an outcome: the scheduled function looks for it")
		p.text("outcome", string(d.Outcome))
	}
	if d := t.Dismissal; d != nil {
		fmt.Fprintf(&text, "\ndismissal of the whole request\n")
		p.text("outcome", withReason(string(d.Outcome), d.Reason))
		p.time("dismissed", d.CreatedAt)
		p.time("kept until", d.KeepUntil)
	}
	for _, c := range t.Claims {
		p.claim(c)
	}
	for _, d := range t.Deliveries {
		p.delivery(d)
	}
	_, err := text.WriteTo(w)
	return err
}

// printer writes fields, and leaves out those that say nothing.
type printer struct{ w io.Writer }

func (p printer) claim(c Claim) {
	fmt.Fprintf(p.w, "\nclaim on owner %s\n", c.Owner)
	p.text("status", withReason(string(c.Status), c.Reason))
	p.text("granted", fmt.Sprintf("%d of %d", c.Granted, c.Requested))
	p.flag("reserve", c.Reserve, "among them")
	p.time("claimed", c.CreatedAt)
	p.time("again after", c.RetryAt)
	p.time("kept until", c.KeepUntil)
}

func (p printer) delivery(d Delivery) {
	fmt.Fprintf(p.w, "\ndelivery %s\n", d.ID)
	p.text("owner", d.Owner)
	p.text("state", withReason(string(d.State), d.Reason))
	p.text("last result", string(d.LastResult))
	p.text("pushes", fmt.Sprintf("%d begun, %d sent", d.Pushes, d.Attempts))
	p.flag("parked", d.Parked, "it is not pushed again")
	p.flag("exposed", d.ExposureUnknown, "perhaps: a push ended without a clear answer")
	p.flag("reserve", d.Reserve, "it stays in stock")
	p.text("joined", d.JoinedFrom)
	p.time("created", d.CreatedAt)
	p.time("leased until", d.LeaseUntil)
	p.time("expires", d.ExpiresAt)
	p.time("delivered", d.DeliveredAt)
	p.time("finished", d.FinishedAt)
	p.time("kept until", d.KeepUntil)
	if l := d.Ledger; l != nil {
		p.text("ledger", fmt.Sprintf("%s since %s", l.Use, at(l.FirstUse)))
	}
	if d.Tombstone != nil {
		p.flag("deleted", d.Tombstone.DeletedAt.IsZero(), "by its owner")
		p.time("deleted", d.Tombstone.DeletedAt)
	}
}

func withReason(state, reason string) string {
	if reason == "" {
		return state
	}
	return state + " (" + reason + ")"
}

func (p printer) text(name, value string) {
	if value != "" {
		fmt.Fprintf(p.w, "  %-12s  %s\n", name, value)
	}
}

func (p printer) flag(name string, set bool, meaning string) {
	if set {
		p.text(name, meaning)
	}
}

func (p printer) time(name string, t time.Time) {
	if !t.IsZero() {
		p.text(name, t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
}
