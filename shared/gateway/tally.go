package gateway

import "sync/atomic"

// tally counts what operators want to know, for Tally.
type tally struct {
	logins, loginsRefused, upstreamDialled, upstreamFailed, publishRefused, rateLimited, tooSlow atomic.Int64
}

// Sessions returns how many sessions are open.
func (g *Gateway) Sessions() int { return len(g.sessions.all()) }

// Tally returns how many sessions are open, and what has happened since it was last called: logins accepted and refused,
// connections to upstream that were tried and that could not be made, KeyPackages refused when they were published, frames refused
// because there were too many, and sessions that ended because their client did not read.
func (g *Gateway) Tally() map[string]int {
	t := &g.tally
	counts := map[string]int{"sessions": g.Sessions()}
	for name, counter := range map[string]*atomic.Int64{
		"logins": &t.logins, "logins_refused": &t.loginsRefused, "upstream_dialled": &t.upstreamDialled, "upstream_failed": &t.upstreamFailed,
		"publish_refused": &t.publishRefused, "rate_limited": &t.rateLimited, "too_slow": &t.tooSlow,
	} {
		counts[name] = int(counter.Swap(0))
	}
	return counts
}
