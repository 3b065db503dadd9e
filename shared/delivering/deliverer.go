// Package delivering is the use case of DeliverKeyPackages: it pushes what is pending to the relay and records what
// became of it.
//
// deliverer.go is what can be asked for, work.go finds out what a message asks for, session.go goes through the deliveries of
// one request, push.go makes one push safely (the conditional write before it, the recording of its results after it), result.go
// says what came of it all, and ports.go is the contract with store and relay.
package delivering

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/rollout"
)

// LeftToTick is the reason of the error with which [Deliverer.ForRequester] fails.
const LeftToTick = "left_to_tick"

// Deliverer pushes deliveries. It is safe for concurrent use.
type Deliverer struct {
	store   Store
	relay   Relay
	mode    rollout.Mode
	now     func() time.Time
	timeout time.Duration // of one push
	lease   time.Duration // for one push
}

// New returns a Deliverer that pushes to a relay. now is the clock.
func New(store Store, relay Relay, mode rollout.Mode, now func() time.Time) *Deliverer {
	return &Deliverer{store, relay, mode, now, keypackage.PushTimeout, keypackage.Lease}
}

// NewLocal returns a Deliverer that pushes into sessions of this process, which takes no time: its leases are short.
func NewLocal(store Store, sessions Relay, mode rollout.Mode, now func() time.Time) *Deliverer {
	return &Deliverer{store, sessions, mode, now, keypackage.LocalPushTimeout, keypackage.LocalLease}
}

// ForRequest delivers what is pending of a request and tells its outcome. A nil or permanent error acknowledges the
// message; after the latter somebody has to look at the relay or its address.
func (d *Deliverer) ForRequest(ctx context.Context, a keypackage.Announcement) (Result, error) {
	return d.handle(ctx, func(w *work) error {
		answer, found, rest, err := d.granted(ctx, a)
		if err != nil {
			return err
		}
		return w.push(ctx, "", answer, found, rest)
	})
}

// Begun pushes deliveries whose first push was begun for that holder by the transaction that claimed them, and tells the
// outcome of the request with this answer. It reads nothing first. Errors are as for ForRequest.
func (d *Deliverer) Begun(
	ctx context.Context, holder string, answer keypackage.Answer, deliveries []keypackage.StoredDelivery,
) (Result, error) {
	return d.handle(ctx, func(w *work) error { return w.push(ctx, holder, answer, deliveries, nil) })
}

// ForRequester delivers everything that is pending for a requester. Its error is always permanent, with the reason
// LeftToTick: the next tick asks for the same again, as long as anything is pending, so neither a retry nor a dead letter
// would add anything. Only a claim's message becomes a dead letter, which makes at most one for each request.
func (d *Deliverer) ForRequester(ctx context.Context, requester string) (Result, error) {
	result, err := d.handle(ctx, func(w *work) error { return w.pushOpen(ctx, requester) })
	if err != nil {
		err = fault.Final(LeftToTick, err)
	}
	return result, err
}

// Repeat sends what was delivered to its requester again, until it expires: to a session that did not exist then. Nothing is
// exposed by that, and nothing recorded. Errors are as for ForRequest.
func (d *Deliverer) Repeat(ctx context.Context, refs []keypackage.DeliveryRef) (Result, error) {
	return d.handle(ctx, func(w *work) error { return w.repeat(ctx, refs) })
}
