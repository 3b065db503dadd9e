package relay

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// refusal is why a delivery will not be written to any session.
type refusal struct {
	status relayapi.Status
	detail string
}

var (
	accepted    = refusal{}
	noEvent     = refusal{relayapi.UnknownEvent, "no event came along, and none of that id was published here"}
	notVerified = refusal{relayapi.Rejected, "the event's id or signature does not verify"}
	notNamed    = refusal{relayapi.Rejected, "the event is not the KeyPackage of that id and owner"}
	isDeleted   = refusal{relayapi.Rejected, "the owner has deleted it"}
)

// parcel returns what to send for a delivery, or why nothing can be sent, ever.
func (r *Relay) parcel(push relayapi.DeliveryRequest, d relayapi.Delivery) (parcel, refusal) {
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
