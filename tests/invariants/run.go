package invariants

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Run is what is known of a run from outside the database. The zero value of a part means that it was not recorded, and
// is not checked.
type Run struct {
	Uploads  map[string]Upload // by event id: everything that owners published
	Requests []Request         // requests that must end with an outcome
	Received []Received
	Pushes   []Push
}

// Upload is a signed event that an owner published.
type Upload struct {
	Owner   string
	Hash    string // key of the ledger entry of its bytes
	Suite   mls.Ciphersuite
	Expires time.Time
	Raw     string
}

// Request is a valid request.
type Request struct {
	ID        string
	Requester string
	Owners    []string
}

// Received is an event that arrived in a session.
type Received struct {
	DeliveryID string
	Session    string // the key as which the session is authenticated
	PackageID  string
	Raw        string
	At         time.Time
}

// Push is a call of the relay's endpoint, for one delivery.
type Push struct {
	DeliveryID string
	At         time.Time
	Contested  bool // another push of the same delivery was, or may have been, under way
}
