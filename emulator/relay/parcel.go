package relay

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// parcel is an event for one person: a KeyPackage or a notice. A session is sent each id once.
type parcel struct {
	id        string
	event     *nostr.Event
	raw       string // the signed event as it is to be written
	requestID string // the kind-447 event that asked for it, if any
	expires   time.Time
}

// matching decides which subscriptions a parcel may be sent on.
type matching struct {
	// compatible serves clients that do not check what they receive against their filter: since and until are ignored, and
	// an #e filter that names the request does not have to match a tag of the event.
	compatible bool
}

// wants returns whether p may be sent on a subscription to a filter. The filter's limit is ignored: it limits what is read
// from the store, and a parcel does not come from there.
func (m matching) wants(p parcel) func(nostr.Filter) bool {
	return func(filter nostr.Filter) bool {
		if !m.compatible {
			return filter.Matches(p.event)
		}
		if slices.Contains(filter.Tags["e"], p.requestID) {
			filter = filter.Clone()
			delete(filter.Tags, "e")
		}
		return filter.MatchesIgnoringTimestampConstraints(p.event)
	}
}

// eventFrame is an EVENT message (NIP-01) around an event that is not touched: re-encoding it could change the bytes that
// were signed.
func eventFrame(subscription, rawEvent string) []byte {
	id, _ := json.Marshal(subscription) // a string always encodes
	frame := make([]byte, 0, len(`["EVENT",,]`)+len(id)+len(rawEvent))
	frame = append(frame, `["EVENT",`...)
	frame = append(frame, id...)
	frame = append(frame, ',')
	frame = append(frame, rawEvent...)
	return append(frame, ']')
}
