package gateway

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Bounds of a frame. They stand in the limitation of the NIP-11 document.
const (
	// maxMessage is the largest message that is taken from a client: twice the largest event that is looked at. Strfry takes
	// 128 KiB, khatru 500 KB.
	maxMessage = 2 * keypackage.MaxEventBytes
	// maxFilters bounds one REQ, because each of its filters is compared with each delivery.
	maxFilters = 100
	// maxSubscriptions bounds one session, for the same reason and for their memory; the busiest clients have some dozens.
	maxSubscriptions = 200
	// maxSubscriptionID is NIP-01's, in characters.
	maxSubscriptionID = 64
	// maxKeys is how many keys may authenticate on one connection; each is one entry more that deliveries look up.
	maxKeys = 16
	// MaxDeletionTags is how many tags of a kind 5 are looked at: each may cost a read and two writes.
	MaxDeletionTags = 100
	// maxStored bounds what a REQ reads of one's own stock; see MAX_STOCK.
	maxStored = 500
)

// Bounds of sessions.
const (
	// maxSessions is what an instance holds. Cloud Run sends it no more than 1,000; elsewhere 5,000 are about 300 MB, with
	// full queues 640 MB more.
	maxSessions = 5000
	// maxSessionsPerAddress leaves room for everybody behind a provider's shared address.
	maxSessionsPerAddress = 250
	// maxWork is how many answers to REQs one session may have under way; each may hold an owner's stock in memory.
	maxWork = 32
)

// cost is what a frame costs: those of one kind are limited together, for a session and for an address. Frames that only pass
// through are not limited here but by upstream's own limits, and by being read no faster than upstream reads.
type cost int

const (
	publishing cost = iota // EVENT of kinds 443, 30443 and 5: reads and writes
	requesting             // EVENT of kind 447, and REQ that claims: a transaction for each owner
	reading                // REQ that reads stored KeyPackages or levels: one query
	loggingIn              // AUTH: a signature to verify
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
	perSession = [costs]allowance{publishing: {300, 2}, requesting: {100, 2}, reading: {100, 2}, loggingIn: {2 * maxKeys, 0.2}}
	perAddress = [costs]allowance{publishing: {2000, 20}, requesting: {1000, 20}, reading: {1000, 20}, loggingIn: {1000, 20}}
)

// limits are what is left of the allowances.
type limits [costs]*rate.Limiter

func newLimits(allowances [costs]allowance) (l limits) {
	for kind, a := range allowances {
		l[kind] = rate.NewLimiter(a.steady, a.burst)
	}
	return l
}

// full reports whether nothing has been used lately, so that forgetting the limits changes nothing.
func (l limits) full() bool {
	for kind, limiter := range l {
		if limiter.Tokens() < float64(perAddress[kind].burst) {
			return false
		}
	}
	return true
}

// addresses count sessions and frames of each client's address. They are safe for concurrent use.
type addresses struct {
	mu     sync.Mutex
	known  map[string]*neighbour
	total  int
	closed bool
	swept  time.Time
}

// neighbour is what is known of one address.
type neighbour struct {
	limits   limits
	sessions int
}

// refusal is why a session is not opened.
type refusal string

const (
	tooMany refusal = "rate-limited: too many connections from this address"
	isFull  refusal = "error: this relay is full"
	isOver  refusal = "error: this relay is shutting down"
)

// admit counts a session in. If the refusal is "", leave must be called.
func (a *addresses) admit(address string) (*neighbour, refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweep()
	n := a.known[address]
	if n == nil {
		n = &neighbour{limits: newLimits(perAddress)}
	}
	switch {
	case a.closed:
		return nil, isOver
	case a.total >= maxSessions:
		return nil, isFull
	case n.sessions >= maxSessionsPerAddress:
		return nil, tooMany
	}
	if a.known == nil {
		a.known = map[string]*neighbour{}
	}
	a.known[address] = n
	n.sessions++
	a.total++
	return n, ""
}

func (a *addresses) leave(n *neighbour) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n.sessions--
	a.total--
}

// close admits nobody any more.
func (a *addresses) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// sweep forgets, once a minute, whom forgetting gives nothing.
func (a *addresses) sweep() {
	if time.Since(a.swept) < time.Minute {
		return
	}
	a.swept = time.Now()
	maps.DeleteFunc(a.known, func(_ string, n *neighbour) bool { return n.sessions == 0 && n.limits.full() })
}
