package trace

import (
	"fmt"
	"strings"
	"time"
)

// around is how much longer than the request's own times the logs are searched: clocks differ, and what ends late is told late.
const around = 5 * time.Minute

// Query is a query for Logs Explorer, or `gcloud logging read`, for what the functions have said about the request. Pushes that
// repeat what is pending name the requester only.
func (t Trace) Query() string {
	about := fmt.Sprintf("jsonPayload.request_event_id=%q", t.Request)
	if t.Document != nil && t.Document.Requester != "" {
		about = fmt.Sprintf("(%s OR jsonPayload.requester_pubkey=%q)", about, t.Document.Requester)
	}
	lines := []string{`resource.type="cloud_run_revision"`, "labels.function:*", about}
	if first, last := t.span(); !first.IsZero() {
		lines = append(lines,
			fmt.Sprintf("timestamp>=%q", at(first.Add(-around))), fmt.Sprintf("timestamp<=%q", at(last.Add(around))))
	}
	return strings.Join(lines, "\n")
}

// span is the time in which something happened; zero if none is known.
func (t Trace) span() (first, last time.Time) {
	var times []time.Time
	if t.Document != nil {
		times = append(times, t.Document.ReceivedAt, t.Document.StoredAt)
	}
	for _, c := range t.Claims {
		times = append(times, c.CreatedAt)
	}
	for _, d := range t.Deliveries {
		times = append(times, d.CreatedAt, d.ExpiresAt, d.FinishedAt)
	}
	for _, at := range times {
		if at.IsZero() {
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return first, last
}
