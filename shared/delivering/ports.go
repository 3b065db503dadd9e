package delivering

import (
	"cmp"
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Store keeps the deliveries. All methods may be called concurrently, also from other processes.
type Store interface {
	// Announced returns those of the claims and deliveries that exist, of all that the announcement names, in any order. A claim
	// that is not on the deliveries although it could be is left out; Answer finds it. Announced does not look for tombstones:
	// BeginPush does, and what it refuses is read again by Deliveries.
	Announced(ctx context.Context, a keypackage.Announcement) (keypackage.Answer, []keypackage.StoredDelivery, error)

	// Answer returns what is recorded of the answer to a request, its claims in any order.
	Answer(ctx context.Context, requestID string) (keypackage.Answer, error)

	// Deliveries returns those of the deliveries that exist, in any order.
	Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) ([]keypackage.StoredDelivery, error)

	// OpenFor returns up to limit open deliveries for the requester whose ids come after that one ("": from the first), in the
	// order of their ids, and like Announced does not look for tombstones.
	OpenFor(ctx context.Context, requester, after string, limit int) ([]keypackage.StoredDelivery, error)

	// BeginPush saves deliveries on which Delivery.BeginPush was called, all in one transaction, provided that none has changed
	// since it was read and no package has a tombstone; otherwise it writes nothing and returns keypackage.ErrConflict. It updates
	// their Version. After any other error they may have been saved, and after a conflict, too, if an earlier attempt had been:
	// whoever reads them again sees who holds the lease.
	BeginPush(ctx context.Context, deliveries []*keypackage.Delivery) error

	// SaveResults saves deliveries on which Delivery.Finish was called, all or, if one has changed since it was read, none:
	// keypackage.ErrConflict.
	SaveResults(ctx context.Context, deliveries []*keypackage.Delivery) error
}

// Relay writes deliveries to requesters' sessions: at the relay's endpoint, or of this process. It may be called concurrently.
type Relay interface {
	// Push makes one push. It returns soon after ctx has ended and begins to write nothing later: leases rest on that.
	Push(ctx context.Context, push Push) Results
}

// Push is one call of the relay, for one requester.
type Push struct {
	RequestID  string
	Requester  string
	ExpiresAt  time.Time // what the relay has not begun to write by then, it drops
	Outcome    []keypackage.Row
	Deliveries []*keypackage.Delivery // empty if there is only an outcome to tell
}

// Results is what a push came to. The zero value says that the relay answered, and for no delivery.
type Results struct {
	Each  map[string]keypackage.PushResult // by delivery id; what is missing is ResultUnknown
	Whole keypackage.PushResult            // if it did not answer for each: why. Otherwise empty
	Err   error                            // the same for the log: no address, content or secret; nil if Whole is empty
}

// Of returns the result for one delivery.
func (r Results) Of(deliveryID string) keypackage.PushResult {
	return cmp.Or(r.Whole, r.Each[deliveryID], keypackage.ResultUnknown)
}

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

// Add adds what another message brought about, and returns the error that came with it.
func (r *Result) Add(other Result, err error) error {
	r.Pushes += other.Pushes
	r.Delivered += other.Delivered
	r.Waiting += other.Waiting
	r.Parked += other.Parked
	r.Failed += other.Failed
	r.Unclear += other.Unclear
	r.Alerts = append(r.Alerts, other.Alerts...)
	r.Latencies = append(r.Latencies, other.Latencies...)
	return err
}
