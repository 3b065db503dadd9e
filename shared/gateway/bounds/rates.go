package bounds

import (
	"time"

	"golang.org/x/time/rate"
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
