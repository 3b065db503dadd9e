package delivering

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Result says what a message brought about, for the log. Deliveries count each time they are pushed, not when only sent again.
type Result struct {
	Pushes    int // calls of the relay
	Delivered int
	Waiting   int      // nobody there, or nobody listening: still pending
	Parked    int      // the relay does not know the event, or rejects it
	Failed    int      // certainly not delivered, because the push failed as a whole: still pending
	Unclear   int      // the requester may have it
	Alerts    []string // results that somebody has to look at

	Latencies []time.Duration // of each delivery completed, since the relay received the request
}

// Describe adds the result to a log line.
func (r Result) Describe(line *logging.Line) {
	line.Count("pushes", r.Pushes)
	line.Count("delivered", r.Delivered)
	line.Count("waiting", r.Waiting)
	line.Count("parked", r.Parked)
	line.Count("failed", r.Failed)
	line.Count("unclear", r.Unclear)
	for _, alert := range r.Alerts {
		line.Alert(alert)
	}
	for _, latency := range r.Latencies {
		line.Measure("request_to_delivery", latency)
	}
}

// Add adds up what two messages brought about.
func (r *Result) Add(other Result) {
	r.Pushes += other.Pushes
	r.Delivered += other.Delivered
	r.Waiting += other.Waiting
	r.Parked += other.Parked
	r.Failed += other.Failed
	r.Unclear += other.Unclear
	r.Alerts = append(r.Alerts, other.Alerts...)
	r.Latencies = append(r.Latencies, other.Latencies...)
}
