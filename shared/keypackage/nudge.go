package keypackage

import "time"

// The scheduled function comes once a minute. A delivery that is new, or whose last push ended unclearly, is asked for again at
// the next tick but not within nudgeAfter, in which its own message does better. While nobody is there the pauses double up to
// four minutes: whoever comes back is noticed by the relay, and most do not come back.
const (
	nudgeAfter  = 30 * time.Second
	nudgePauses = 3 // of 1, 2 and 4 minutes
)

// NudgeAt returns from when on the delivery is to be asked for again, if it is Pushable then. A pause is counted from the end of
// the last lease, and ends half a minute early: a tick that misses it comes a whole minute late.
func (d *Delivery) NudgeAt() time.Time {
	if d.Attempts == 0 || (d.LastResult != ResultNoSession && d.LastResult != ResultNoSubscription) {
		return d.CreatedAt.Add(nudgeAfter)
	}
	pause := time.Minute << (min(d.Attempts, nudgePauses) - 1)
	return d.LeaseUntil.Add(pause - nudgeAfter)
}
