package delivering

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Store keeps the deliveries. All methods may be called concurrently, also from other processes.
type Store interface {
	// Announced returns those of the records and deliveries that exist, of all that the announcement names, in any order.
	Announced(ctx context.Context, a keypackage.Announcement) ([]keypackage.Claim, []keypackage.StoredDelivery, error)

	// RequestRecords returns the records of a request, in any order.
	RequestRecords(ctx context.Context, requestID string) ([]keypackage.Claim, error)

	// Deliveries returns those of the deliveries that exist, in any order.
	Deliveries(ctx context.Context, refs []keypackage.DeliveryRef) ([]keypackage.StoredDelivery, error)

	// OpenFor returns up to limit open deliveries for the requester, in any order.
	OpenFor(ctx context.Context, requester string, limit int) ([]keypackage.StoredDelivery, error)

	// BeginPush saves deliveries on which Delivery.BeginPush was called, all in one transaction, provided that none has
	// changed since it was read and no package has a tombstone; otherwise it writes nothing and returns
	// keypackage.ErrConflict. It updates their Version. After any other error they may have been saved: somebody then
	// holds the lease, and nobody may say that nothing was sent.
	BeginPush(ctx context.Context, deliveries []*keypackage.Delivery) error

	// SaveResults saves deliveries on which Delivery.Finish was called, all or none, provided that none has changed since
	// it was read; otherwise it returns keypackage.ErrConflict.
	SaveResults(ctx context.Context, deliveries []*keypackage.Delivery) error
}

// Relay is the relay's delivery endpoint. Push returns within keypackage.PushTimeout.
type Relay interface {
	Push(ctx context.Context, push Push) Answer
}

// Push is one call of the endpoint, for one requester.
type Push struct {
	RequestID  string
	Requester  string
	ExpiresAt  time.Time // what the relay has not begun to write by then, it drops
	Outcome    []keypackage.Row
	Deliveries []*keypackage.Delivery // empty if there is only an outcome to tell
}

// Answer is what a push came to. Statuses holds the relay's words by delivery id, with AnswerResults.
type Answer struct {
	keypackage.Answer
	Statuses map[string]string
	Err      error // for the log; nil with AnswerResults
}
