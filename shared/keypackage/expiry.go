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

// How a delivery expired. The values are recorded as its Reason and used as metric labels.
const (
	ExpiredReturned        = "returned"         // the one-time package is back in stock
	ExpiredReserve         = "reserve"          // a reserve: it never left the stock
	ExpiredExposureUnknown = "exposure_unknown" // burned: the requester may have it
	ExpiredParked          = "parked"           // burned: the relay does not know it, or refuses it
	ExpiredTombstoned      = "tombstoned"       // burned: the owner deleted it
	ExpiredPackageOver     = "package_expired"  // burned: its own time is over
)

// DueAt returns when the delivery may expire: no push starts after ExpiresAt, and after the fence none is under way.
func (d *Delivery) DueAt() time.Time { return d.ExpiresAt.Add(Fence) }

// Expire ends an open delivery that is due. Its Reason then says whether the package returns to stock: only a one-time
// package that is still valid, and that certainly nobody has seen. A push that was begun and never recorded may have been seen.
func (d *Delivery) Expire(tombstoned bool, now time.Time) {
	d.ExposureUnknown = d.ExposureUnknown || d.State == StateSending
	d.end(StateExpired, now)
	switch {
	case d.Reserve:
		d.Reason = ExpiredReserve
	case d.ExposureUnknown:
		d.Reason = ExpiredExposureUnknown
	case d.Parked:
		d.Reason = ExpiredParked
	case tombstoned:
		d.Reason = ExpiredTombstoned
	case !d.PackageExpires.After(now):
		d.Reason = ExpiredPackageOver
	default:
		d.Reason = ExpiredReturned
	}
}
