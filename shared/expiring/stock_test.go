package expiring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// upload stores n packages of Bob's that were stored now.
func (w *world) upload(n int, edits ...func(*keypackage.Candidate)) {
	for range n {
		id := fmt.Sprintf("k%03d", w.uploaded)
		w.uploaded++
		c := &keypackage.Candidate{
			Package: keypackage.Package{
				ID: id, Owner: "bob", Suite: 1, Hash: "hash of " + id, CreatedAt: time.Now().Unix(), ExpiresAt: time.Now().Add(24 * time.Hour),
			},
			Stored: time.Now(), Version: w.tick(),
		}
		for _, edit := range edits {
			edit(c)
		}
		w.stock[id] = c
	}
}

// handOutReserve hands out a package as a reserve, now.
func (w *world) handOutReserve(id string) {
	c := w.stock[id]
	entry := keypackage.NewLedger(&c.Package, keypackage.UseReserve, "d", time.Now())
	entry.Version = w.tick()
	w.ledger[c.Hash] = entry
	c.Use = keypackage.UseReserve
}

// keyIn returns a key whose owner's stock is looked at in that minute.
func keyIn(minute int) string {
	return fmt.Sprintf("%02x", minute%keypackage.Shards*256/keypackage.Shards) + "ab"
}

// Within about an hour every owner's expired packages are removed, and nothing else.
func TestExpiredPackagesAreRemoved(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		end := time.Now().Add(time.Minute)
		owners := []string{"", "!", "zz", strings.Repeat("f", 64)} // what is no key is removed, too
		for first := range 256 {
			owners = append(owners, fmt.Sprintf("%02x", first)+"00")
		}
		for _, owner := range owners {
			w.upload(1, func(c *keypackage.Candidate) { c.Owner, c.ExpiresAt = owner, end })
		}
		w.upload(removeBatch, func(c *keypackage.Candidate) { c.Owner, c.ExpiresAt = keyIn(0), end })
		w.upload(2)
		expired := len(w.stock) - 2
		time.Sleep(time.Minute)
		removed := 0
		for range keypackage.Shards {
			for _, mode := range []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve} {
				if report := w.run(mode); report.Removed != 0 {
					w.Errorf("mode %s: %+v", mode, report)
				}
			}
			removed += w.run(keypackage.ModeDeliver).Removed
			time.Sleep(time.Minute)
		}
		if removed != expired || len(w.stock) != 2 {
			w.Errorf("%d of %d removed, %d left", removed, expired, len(w.stock))
		}
	})
}

// A reserve is retired when two others have been in stock for ten minutes; not before, and only in mode deliver.
func TestRetirement(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.upload(1)
		w.handOutReserve("k000")
		time.Sleep(time.Hour)
		if report := w.run(keypackage.ModeDeliver); report.Retired != 0 || w.stock["k000"] == nil {
			w.Fatalf("the last package is retired: %+v", report)
		}
		w.upload(2)
		uploaded := time.Now()
		for w.stock["k000"] != nil && time.Since(uploaded) < 2*time.Hour {
			if report := w.run(keypackage.ModeObserve); report.Retired > 0 {
				w.Errorf("retired in mode observe: %+v", report)
			}
			if report := w.run(keypackage.ModeDeliver); report.Retired > 0 && time.Since(uploaded) < keypackage.RetireAfter {
				w.Errorf("retired %v after the upload", time.Since(uploaded))
			}
			time.Sleep(time.Minute)
		}
		if w.stock["k000"] != nil || len(w.stock) != 2 {
			w.Errorf("not retired after %v; %d in stock", time.Since(uploaded), len(w.stock))
		}
		if entry := w.ledger["hash of k000"]; entry.Use != keypackage.UseReserve || entry.CheckShard != 0 {
			w.Errorf("its entry: %+v", entry)
		}
	})
}

func TestRetirementOfWhatIsGone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.upload(3)
		w.handOutReserve("k000")
		delete(w.stock, "k000")
		time.Sleep(keypackage.RetireAfter)
		if report := w.run(keypackage.ModeDeliver); report.Retired != 0 || w.ledger["hash of k000"].CheckShard != 0 || len(w.stock) != 2 {
			w.Errorf("got %+v, %+v", report, w.ledger["hash of k000"])
		}
	})
}

// What is retired is the bytes: an event that carries the same would otherwise be the owner's only package one day.
func TestRetirementOfTwins(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.upload(1)
		twin := func(c *keypackage.Candidate) { c.Hash = "hash of k000" }
		w.upload(2, twin)
		w.handOutReserve("k000")
		w.upload(keypackage.NewestLimit+1, func(c *keypackage.Candidate) { c.CreatedAt++ })
		time.Sleep(keypackage.RetireAfter)
		if report := w.run(keypackage.ModeDeliver); report.Retired != 1 || len(w.stock) != keypackage.NewestLimit+1 {
			w.Errorf("got %+v, %d in stock", report, len(w.stock))
		}
	})
}

// The event that was handed out is gone, and its twin is not: then the twin is watched.
func TestRetirementOfALeftTwin(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.upload(1)
		w.upload(1, func(c *keypackage.Candidate) { c.Hash = "hash of k000" })
		w.handOutReserve("k000")
		delete(w.stock, "k000")
		time.Sleep(keypackage.RetireAfter)
		w.run(keypackage.ModeDeliver)
		w.upload(3)
		time.Sleep(2 * time.Hour)
		if w.run(keypackage.ModeDeliver); w.stock["k001"] != nil && w.stock["k001"].Hash == "hash of k000" {
			w.Error("the twin is still in stock")
		}
	})
}

func TestRetirementMeetsTrouble(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Twins", "Newest", "Retire", "Retirable", "Over"} {
		inWorld(t, func(w *world) {
			w.upload(3)
			w.handOutReserve("k000")
			time.Sleep(keypackage.RetireAfter)
			w.fault = func(name string) error {
				if name == call {
					return errAway
				}
				return nil
			}
			if _, err := w.expirer(keypackage.ModeDeliver).Run(w.Context()); err == nil {
				w.Errorf("%s fails, and the run does not", call)
			}
		})
	}
	inWorld(t, func(w *world) {
		w.upload(3)
		w.handOutReserve("k000")
		time.Sleep(keypackage.RetireAfter)
		w.fault = func(name string) error {
			if name == "Retire" {
				return keypackage.ErrConflict
			}
			return nil
		}
		if report := w.run(keypackage.ModeDeliver); report.Retired != 0 {
			w.Errorf("a lost race is left to the next run: %+v", report)
		}
	})
}

// pending stores an owner who reached the level low.
func (w *world) pending(owner string) string {
	supply, _ := keypackage.Supply{}.Sink(3, false, time.Now())
	o := keypackage.Owner{Pubkey: owner, Supplies: map[string]keypackage.Supply{"0x0001": supply}, Pending: true, Version: w.tick()}
	w.owners[owner] = o
	return o.DueNotices()[0].ID()
}

// A level is published at least once; if it could not be noted, once more under the same id.
func TestLevelsArePublished(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		bobs, carols := w.pending("bob"), w.pending("carol")
		for _, mode := range []keypackage.Mode{keypackage.ModeOff, keypackage.ModeObserve} {
			if report := w.run(mode); report.Notices != 0 {
				w.Errorf("mode %s: %+v", mode, report)
			}
		}
		w.fault = func(call string) error {
			if call == "SaveSupplies" {
				return errAway
			}
			return nil
		}
		if _, err := w.expirer(keypackage.ModeDeliver).Run(w.Context()); err == nil {
			w.Error("what was not noted is said to be done")
		}
		w.fault = func(string) error { return nil }
		if report := w.run(keypackage.ModeDeliver); report.Notices != 2 || !slices.Equal(w.notices, []string{bobs, carols, bobs, carols}) {
			w.Errorf("got %+v, published %v", report, w.notices)
		}
		if report := w.run(keypackage.ModeDeliver); report.Notices != 0 || w.owners["bob"].Pending {
			w.Errorf("again: %+v", report)
		}
	})
}

func TestNoticeIsNotNotedUnlessPublished(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.pending("bob")
		w.fault = func(call string) error {
			if call == "PublishNotices" {
				return errAway
			}
			return nil
		}
		if _, err := w.expirer(keypackage.ModeDeliver).Run(w.Context()); err == nil || !w.owners["bob"].Pending {
			w.Errorf("%v, still pending %v", err, w.owners["bob"].Pending)
		}
	})
}

// What fails for one owner fails for her only: what is behind it is not kept waiting, run after run.
func TestOneOwnerFailsAlone(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"PublishNotices", "SaveSupplies", "Newest", "Twins", "Retire"} {
		inWorld(t, func(w *world) {
			w.upload(4)
			w.handOutReserve("k000")
			w.handOutReserve("k001")
			time.Sleep(keypackage.RetireAfter)
			bobs, carols := w.pending("bob"), w.pending("carol")
			first := true
			w.fault = func(name string) error {
				if name == call && first {
					first = false
					return errAway
				}
				return nil
			}
			report, err := w.expirer(keypackage.ModeDeliver).Run(w.Context())
			if !errors.Is(err, errAway) {
				w.Errorf("%s fails, and the run says %v", call, err)
			}
			told := slices.Contains(w.notices, carols) && (slices.Contains(w.notices, bobs) || call == "PublishNotices")
			if report.Retired == 0 || !told || w.owners["carol"].Pending {
				w.Errorf("%s fails once: %+v, told %v", call, report, w.notices)
			}
		})
	}
}
