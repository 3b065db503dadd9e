package trace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

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
