// Package bounds says what one client may do. Every bound of the gateway is named here, with its reason, stands in the NIP-11
// document, and is answered in the protocol's words, never by silence.
//
// bounds.go has the bounds, addresses.go who shares a count.
package bounds

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

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
	// maxSessions is what an instance holds. Cloud Run sends it no more than 1,000; 5,000 that are idle take less than 400 MB
	// (77 KiB each, measured), with full queues 640 MB more.
	maxSessions = 5000
	// maxSessionsPerAddress leaves room for everybody behind a provider's shared address.
	maxSessionsPerAddress = 250
	// MaxWork is how many answers to REQs and 447s one session may have under way; each may hold an owner's stock in memory.
	MaxWork = 32
)

// Cost is what a frame costs: those of one kind are limited together, for a session and for an address. Frames that only pass
// through are not limited here but by upstream's own limits, and by being read no faster than upstream reads.
type Cost int

const (
	Publishing Cost = iota // EVENT of kinds 443, 30443 and 5: reads and writes
	Requesting             // EVENT of kind 447, and REQ that claims, for each owner: a transaction
	Reading                // REQ that reads stored KeyPackages or levels: one query
	LoggingIn              // AUTH: a signature to verify
	costs
)

// allowance is how many frames of a kind may come at once, and how many each second in the long run.
type allowance struct {
	burst  int
	steady rate.Limit
}

// An owner fills up her stock at once (MAX_STOCK), a requester invites a large group at once. The address's share is for people
// who share one.
var (
	perSession = [costs]allowance{Publishing: {300, 2}, Requesting: {400, 4}, Reading: {100, 2}, LoggingIn: {2 * MaxKeys, 0.2}}
	perAddress = [costs]allowance{Publishing: {2000, 20}, Requesting: {4000, 40}, Reading: {1000, 20}, LoggingIn: {1000, 20}}
)

func (a allowance) announced() map[string]any {
	return map[string]any{"burst": a.burst, "per_second": float64(a.steady)}
}

// Limits are what is left of the allowances. They are safe for concurrent use.
type Limits [costs]*rate.Limiter

// OfSession returns the limits of a new session.
func OfSession() Limits { return newLimits(perSession) }

// Allow takes so many frames' worth from the allowance, or nothing and reports that there is not enough.
func (l Limits) Allow(kind Cost, n int) bool { return l[kind].AllowN(time.Now(), n) }

func newLimits(allowances [costs]allowance) (l Limits) {
	for kind, a := range allowances {
		l[kind] = rate.NewLimiter(a.steady, a.burst)
	}
	return l
}

// full reports whether nothing has been used lately, so that forgetting the limits changes nothing.
func (l Limits) full() bool {
	for kind, limiter := range l {
		if limiter.Tokens() < float64(perAddress[kind].burst) {
			return false
		}
	}
	return true
}

// Limitation is what NIP-11 knows of bounds.
func Limitation() map[string]int {
	return map[string]int{
		"max_message_length": MaxMessage, "max_subid_length": MaxSubscriptionID,
		"max_subscriptions": MaxSubscriptions, "max_filters": MaxFilters,
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
