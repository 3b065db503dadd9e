// Package bounds says what one client may do. Every bound of the gateway is named here, with its reason, stands in the NIP-11
// document, and is answered in the protocol's words, never by silence.
//
// bounds.go has what is counted in one session, rates.go what is counted in time, addresses.go who shares a count.
package bounds

import (
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// Bounds of a frame. They stand in the limitation of the NIP-11 document.
const (
	// MaxMessage is the largest message that is taken from a client: twice the largest event that is looked at. Strfry takes
	// 128 KiB, khatru 500 KB.
	MaxMessage = 2 * keypackage.MaxEventBytes
	// MaxFilters bounds one REQ, because each of its filters is compared with each delivery.
	MaxFilters = 100
	// MaxSubscriptions bounds one session, for the same reason and for their memory; the busiest clients have some dozens.
	MaxSubscriptions = 200
	// MaxConditions bounds what is kept of the filters of one session, in bytes: what deliveries are compared with. An honest
	// requester's name some owners.
	MaxConditions = 256 << 10
	// MaxSubscriptionID is NIP-01's, in characters.
	MaxSubscriptionID = 64
	// MaxKeys is how many keys may authenticate on one connection; each is one entry more that deliveries look up.
	MaxKeys = 16
	// MaxDeletionTags is how many tags of a kind 5 are looked at.
	MaxDeletionTags = publishing.MaxDeletionTags
	// MaxStored bounds what a REQ reads of one's own stock; see MAX_STOCK.
	MaxStored = 500
)

// Bounds of sessions.
const (
	// maxSessions is what an instance holds. Cloud Run sends it no more than 1,000; 5,000 that are idle take less than 400 MB (77 KiB each, measured), with
	// full queues 640 MB more.
	maxSessions = 5000
	// maxSessionsPerAddress leaves room for everybody behind a provider's shared address.
	maxSessionsPerAddress = 250
	// MaxWork is how many answers to REQs and 447s one session may have under way; each may hold an owner's stock in memory.
	MaxWork = 32
)

// Limitation is what NIP-11 knows of bounds.
func Limitation() map[string]int {
	return map[string]int{
		"max_message_length": MaxMessage,
		"max_subscriptions":  MaxSubscriptions,
		"max_filters":        MaxFilters,
		"max_subid_length":   MaxSubscriptionID,
	}
}

// Others are the bounds for which NIP-11 has no names.
func Others() map[string]any {
	all := map[string]any{
		"max_keys": MaxKeys, "max_deletion_tags": MaxDeletionTags, "max_event_length": keypackage.MaxEventBytes,
		"max_sessions_per_address": maxSessionsPerAddress, "max_stored": MaxStored, "max_conditions_length": MaxConditions,
	}
	for kind, name := range map[Cost]string{Publishing: "publish", Requesting: "request", Reading: "read", LoggingIn: "auth"} {
		all[name+"_per_session"] = perSession[kind].announced()
		all[name+"_per_address"] = perAddress[kind].announced()
	}
	return all
}
