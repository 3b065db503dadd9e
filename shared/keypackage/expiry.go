package keypackage

import "time"

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
// package that is still valid, and of which we know that nobody has seen it. A push that was begun and never recorded may have
// reached the requester.
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
