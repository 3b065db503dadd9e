package expiring

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var allModes = []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve, keypackage.ModeDeliver}

// In every mode what is over ends, after the fence and not before, and its package returns or is burned for a reason.
func TestDeliveriesExpire(t *testing.T) {
	t.Parallel()
	for _, mode := range allModes {
		inWorld(t, func(w *world) {
			w.add(1)
			w.add(1, func(d *keypackage.Delivery) { d.BeginPush(time.Now(), "holder", keypackage.Lease) })
			w.add(1, func(d *keypackage.Delivery) { d.Parked = true })
			w.add(1, func(d *keypackage.Delivery) { d.Reserve = true })
			w.add(1)
			w.tombstones["k004"] = true
			w.add(1, func(d *keypackage.Delivery) { d.Finish(0, keypackage.ResultDelivered, time.Now()) })
			time.Sleep(5*time.Minute + keypackage.Fence - time.Second)
			if report := w.run(mode); report.Returned+report.Reserves+len(report.Burned) > 0 {
				w.Errorf("mode %s, before the fence's end: %+v", mode, report)
			}
			time.Sleep(time.Second)
			report := w.run(mode)
			if report.Returned != 1 || report.Reserves != 1 || len(report.Burned) != 3 || report.Burned[keypackage.ExpiredExposureUnknown] != 1 ||
				report.Burned[keypackage.ExpiredParked] != 1 || report.Burned[keypackage.ExpiredTombstoned] != 1 || len(report.More) > 0 {
				w.Errorf("mode %s: %+v", mode, report)
			}
			for id, d := range w.deliveries {
				if d.Open() || w.returned[d.PackageID] != (id == "r_k000") {
					w.Errorf("mode %s: %s is %s, returned %v", mode, id, d.State, w.returned[d.PackageID])
				}
			}
			if report := w.run(mode); report.Returned+report.Reserves+len(report.Burned) > 0 {
				w.Errorf("mode %s, again: %+v", mode, report)
			}
		})
	}
}

func TestManyExpireInOneRun(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(2*nudgeBatch + 7)
		time.Sleep(time.Hour / 2)
		if report := w.run(keypackage.ModeOff); report.Returned != 2*nudgeBatch+7 {
			w.Errorf("got %+v", report)
		}
	})
}

// One delivery that changes all the time does not keep the others of its batch, and does not keep the run going for ever.
func TestExpiryLosesRaces(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(expireBatch + 3)
		w.fault = func(call string) error {
			if call == "Expire" {
				d := w.deliveries["r_k005"]
				d.Version = w.tick()
				w.deliveries["r_k005"] = d
			}
			return nil
		}
		time.Sleep(time.Hour / 2)
		if report := w.run(keypackage.ModeDeliver); report.Returned != expireBatch+2 || !w.deliveries["r_k000"].FinishedAt.Equal(time.Now()) {
			w.Errorf("got %+v", report)
		}
		if d := w.deliveries["r_k005"]; !d.Open() {
			w.Errorf("%+v", d)
		}
	})
}

// What a run has done is reported even if it fails half-way, and what follows is tried all the same.
func TestExpiryFails(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(2 * expireBatch)
		request := w.receive()
		time.Sleep(10 * time.Minute)
		batches := 0
		w.fault = func(call string) error {
			if call == "Expire" {
				if batches++; batches > 1 {
					return errAway
				}
			}
			return nil
		}
		report, err := w.expirer(keypackage.ModeDeliver).Run(w.Context())
		if err == nil || report.Returned != expireBatch || !w.answered[request] {
			w.Errorf("got %+v, %v, later jobs done: %v", report, err, w.answered[request])
		}
	})
}

// What is pending is asked for again once its own message must have been lost, once per requester and run.
func TestNudges(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		by := func(name string, edit func(*keypackage.Delivery)) {
			w.add(1, func(d *keypackage.Delivery) { d.Requester = name; edit(d) })
		}
		none := func(*keypackage.Delivery) {}
		by("alice", none)
		by("alice", none)
		by("parked", func(d *keypackage.Delivery) { d.Parked = true })
		by("crashed", func(d *keypackage.Delivery) { d.BeginPush(time.Now(), "holder", keypackage.Lease) })
		by("delivered", func(d *keypackage.Delivery) { d.Finish(0, keypackage.ResultDelivered, time.Now()) })
		time.Sleep(29 * time.Second)
		if report := w.run(keypackage.ModeDeliver); report.Nudged != 0 {
			w.Errorf("too early: %+v, %v", report, w.nudged)
		}
		time.Sleep(time.Second)
		by("too recent", none)
		by("leased", func(d *keypackage.Delivery) {
			d.CreatedAt = d.CreatedAt.Add(-time.Minute)
			d.BeginPush(time.Now(), "holder", keypackage.Lease)
		})
		if report := w.run(keypackage.ModeDeliver); report.Nudged != 2 || !slices.Equal(w.nudged, []string{"alice", "crashed"}) {
			w.Errorf("got %+v, %v", report, w.nudged)
		}
		for _, mode := range []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve} {
			if report := w.run(mode); report.Nudged != 0 {
				w.Errorf("mode %s: %+v", mode, report)
			}
		}
		time.Sleep(5 * time.Minute)
		if report := w.run(keypackage.ModeDeliver); report.Nudged != 0 {
			w.Errorf("after their end: %+v, %v", report, w.nudged)
		}
	})
}

// Who is offline is asked for again after 1, 2 and 4 minutes.
func TestNudgesOfWhoIsOffline(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(1, func(d *keypackage.Delivery) { d.ExpiresAt = d.CreatedAt.Add(12 * time.Minute) })
		push := func() {
			d := w.deliveries["r_k000"]
			d.BeginPush(time.Now(), "holder", keypackage.Lease)
			d.Finish(d.PushNo, keypackage.ResultNoSession, time.Now())
			w.deliveries["r_k000"] = d
		}
		push()
		var at []int
		for minute := range 12 {
			time.Sleep(time.Minute)
			if report := w.run(keypackage.ModeDeliver); report.Nudged > 0 {
				at = append(at, minute+1)
				push()
			}
		}
		if !slices.Equal(at, []int{1, 3, 7, 11}) {
			w.Errorf("asked for again after %v minutes", at)
		}
	})
}

func TestNudgesOfMany(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(2*nudgeBatch+1, func(d *keypackage.Delivery) { d.Requester = d.PackageID })
		time.Sleep(time.Minute)
		if report := w.run(keypackage.ModeDeliver); report.Nudged != 2*nudgeBatch+1 || len(w.nudged) != 2*nudgeBatch+1 {
			w.Errorf("%d of %d nudged", report.Nudged, 2*nudgeBatch+1)
		}
	})
}

// A switch that is turned during a run stops what only mode deliver does.
func TestSwitchedOffDuringARun(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(2*nudgeBatch, func(d *keypackage.Delivery) { d.Requester = d.PackageID })
		w.upload(2, func(c *keypackage.Candidate) { c.Owner, c.ExpiresAt = keyIn(0), time.Now() })
		time.Sleep(time.Minute)
		asked := 0
		w.fault = func(call string) error {
			if call == "Mode" {
				if asked++; asked == 3 {
					w.mode = keypackage.ModeOff
				}
			}
			return nil
		}
		if report := w.run(keypackage.ModeDeliver); report.Nudged != nudgeBatch || report.Removed > 0 {
			w.Errorf("got %+v", report)
		}
	})
}

// One document that cannot be read stops nobody, whatever it holds.
func TestUnreadableDocumentsStopNobody(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.add(2, func(d *keypackage.Delivery) { d.ExpiresAt = time.Now() })
		w.add(2, func(d *keypackage.Delivery) { d.Requester, d.ExpiresAt = d.PackageID, d.ExpiresAt.Add(time.Hour) })
		w.upload(3)
		w.upload(3, func(c *keypackage.Candidate) { c.Owner = "carol" })
		w.handOutReserve("k000")
		w.handOutReserve("k003")
		w.pending("bob")
		w.pending("carol")
		for _, id := range []string{"r_k000", "r_k002", "k000", "bob"} {
			w.broken[id] = true
		}
		time.Sleep(keypackage.RetireAfter)
		report := w.run(keypackage.ModeDeliver)
		if report.Unreadable != 4 || report.Returned != 1 || report.Nudged != 1 || report.Retired != 1 || report.Notices != 1 {
			w.Errorf("got %+v", report)
		}
		if report.Example == "" {
			w.Error("nobody is told which")
		}
	})
}

// A run ends in time, whatever takes long, names what there is more of, and fails only for what failed before.
func TestRunEndsInTime(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for range 100 {
			w.receive()
		}
		time.Sleep(time.Minute)
		w.fault = func(call string) error {
			if call == "Recover" {
				time.Sleep(3 * time.Second)
			}
			return nil
		}
		begun := time.Now()
		report := w.run(keypackage.ModeDeliver)
		if took := time.Since(begun); took > RunTime+3*time.Second || !slices.Equal(report.More, []string{"recover"}) || report.Recovered < 40 {
			w.Errorf("%v: %+v", took, report)
		}
		w.fault = func(string) error { return nil }
		if report := w.run(keypackage.ModeDeliver); len(report.More) > 0 || len(w.answered) != 100 {
			w.Errorf("the next run: %+v", report)
		}
	})
}

// Whatever one job finds to do, the others have their turn in the same run.
func TestNoJobStarvesAnother(t *testing.T) {
	t.Parallel()
	for _, slow := range []string{"Expire", "Recover", "PublishRequesters", "Remove", "Retire", "SaveSupplies"} {
		inWorld(t, func(w *world) {
			w.add(40*expireBatch, func(d *keypackage.Delivery) { d.ExpiresAt = time.Now() })
			w.add(20*nudgeBatch, func(d *keypackage.Delivery) { d.Requester, d.ExpiresAt = d.PackageID, d.ExpiresAt.Add(time.Hour) })
			for i := range 40 {
				w.receive()
				w.pending(fmt.Sprint("owner", i))
				w.upload(3, func(c *keypackage.Candidate) { c.Owner = fmt.Sprint("owner", i) })
				w.handOutReserve(fmt.Sprintf("k%03d", 3*i))
			}
			time.Sleep(keypackage.RetireAfter)
			w.upload(40*removeBatch, func(c *keypackage.Candidate) { c.Owner, c.ExpiresAt = keyIn(int(time.Now().Unix()/60)), time.Now() })
			w.fault = func(call string) error {
				if call == slow {
					time.Sleep(5 * time.Second)
				}
				return nil
			}
			report := w.run(keypackage.ModeDeliver)
			for name, n := range map[string]int{
				"returned": report.Returned, "recovered": report.Recovered, "nudged": report.Nudged, "removed": report.Removed,
				"retired": report.Retired, "notices": report.Notices,
			} {
				if n == 0 {
					w.Errorf("%s is slow, and nothing is %s: %+v", slow, name, report)
				}
			}
		})
	}
}
