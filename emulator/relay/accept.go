package relay

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	wire "github.com/keypackage-delivery/keypackage-delivery/shared/relay"
)

// refusal is why a delivery will not be written to any session.
type refusal struct {
	status wire.Status
	detail string
}

var (
	accepted    = refusal{}
	noEvent     = refusal{wire.UnknownEvent, "no event came along, and none of that id was published here"}
	notVerified = refusal{wire.Rejected, "the event's id or signature does not verify"}
	notNamed    = refusal{wire.Rejected, "the event is not the KeyPackage of that id and owner"}
	isDeleted   = refusal{wire.Rejected, "the owner has deleted it"}
)

// parcel returns what to send for a delivery, or why nothing can be sent, ever.
func (r *Relay) parcel(push wire.DeliveryRequest, d wire.Delivery) (parcel, refusal) {
	raw := d.Event
	if raw == "" {
		event, ok := r.shelf.event(d.KeyPackageEventID)
		if !ok {
			return parcel{}, noEvent
		}
		raw = event.String()
	}
	event, err := keypackage.VerifyEvent(raw)
	switch {
	case err != nil:
		return parcel{}, notVerified
	case event.ID != d.KeyPackageEventID || event.PubKey != d.OwnerPubkey || !isKeyPackage(event.Kind):
		return parcel{}, notNamed
	case r.library.wasDeleted(event):
		return parcel{}, isDeleted
	}
	return parcel{d.ID, event, raw, push.RequestEventID, time.Unix(push.ExpiresAt, 0)}, accepted
}
