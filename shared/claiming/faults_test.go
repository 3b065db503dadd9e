package claiming

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

var errAway = errors.New("the database is away")

// A crash before or after any call of the store or the publisher, and then the event once more: the result is as if it
// had arrived once.
func TestCrashAtAnyCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, rejected := range []bool{false, true} {
			for crash := 1; ; crash++ {
				d := newDesk(t, fresh(5)...)
				doc := signed(t, 1, forBob, three)
				if rejected {
					doc.ReceivedAt = now.Add(-keypackage.MaxRequestTTL)
				}
				calls := 0
				d.fault = func(string, bool) error {
					if calls++; calls >= crash {
						return errAway
					}
					return nil
				}
				_, err := d.first.Claim(t.Context(), doc)
				if err == nil && calls < crash {
					break // it ran to its end without a crash
				}
				if err == nil || !fault.IsRetryable(err) {
					t.Fatalf("crash at call %d: %v, want the event again", crash, err)
				}
				d.fault = func(string, bool) error { return nil }
				got := claim(t, d.claimer(keypackage.ModeDeliver), doc)
				if _, noted := d.outcomes[doc.ID]; !noted || len(d.published) == 0 { // nothing to deliver: the mark `open` is still there
					recovered(t, d.claimer(keypackage.ModeDeliver), doc)
				}
				if rejected && got.Outcome != keypackage.OutcomeRejected || !rejected && (got.Granted != 3 || len(d.deliveries) != 3 || len(d.stock) != 2) {
					t.Errorf("crash at call %d: %+v, %d deliveries, %d left", crash, got, len(d.deliveries), len(d.stock))
				}
				if !d.answerOf(doc.ID).Complete() || d.outcomes[doc.ID] != got.Outcome || len(d.published) == 0 {
					t.Errorf("crash at call %d: recorded %v, published %v", crash, d.answerOf(doc.ID), d.published)
				}
			}
		}
	})
}

// A failure that passes costs milliseconds, not an event.
func TestShortFailuresAreSurvived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, call := range []string{"Commit", "View", "ReadStock", "CountSuite", "LookUp", "NoteOutcome", "Dismiss"} {
			for _, persisted := range []bool{false, true} {
				d := newDesk(t, fresh(3)...) // all that is asked for, so that the reserve is handed out
				failures := 0
				d.fault = func(now string, done bool) error {
					if strings.HasPrefix(now, call) && done == persisted && failures < 2 {
						failures++
						return errAway
					}
					return nil
				}
				doc := signed(t, 1, forBob, three)
				switch call {
				case "Dismiss":
					doc = signed(t, 1)
				case "CountSuite":
					doc = signed(t, 1, forBob) // not to the end of the stock
				}
				if _, err := d.first.Claim(t.Context(), doc); err != nil || failures == 0 || !d.answerOf(doc.ID).Complete() {
					t.Errorf("%s, persisted %v: %v after %d failures", call, persisted, err, failures)
				}
			}
		}
	})
}

func TestLostRacesAreRunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, call := range []string{"Commit", "Dismiss"} {
			for lost, survives := range map[int]bool{1: true, commitAttempts - 1: true, commitAttempts: false} {
				d := newDesk(t, fresh(5)...)
				races := 0
				d.fault = func(now string, done bool) error {
					if strings.HasPrefix(now, call) && !done && races < lost {
						races++
						return fmt.Errorf("claim: %w", keypackage.ErrConflict)
					}
					return nil
				}
				doc := signed(t, 1, forBob)
				if call == "Dismiss" {
					doc = signed(t, 1)
				}
				_, err := d.first.Claim(t.Context(), doc)
				if survives != (err == nil) || survives != d.answerOf(doc.ID).Complete() || fault.IsRetryable(err) == survives {
					t.Errorf("%s, %d races lost: %v, recorded %v", call, lost, err, d.answerOf(doc.ID))
				}
			}
		}
	})
}

// A stale request loses the race for its answer to the claim of one of its units: then the others are claimed as well,
// since nobody else may be there to do it.
func TestRejectionLosesToAUnit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob, forDave)
	doc.ReceivedAt = now.Add(-keypackage.MaxRequestTTL / 2)
	unit := keypackage.Claim{RequestID: doc.ID, Owner: bob, Owners: []string{bob, dave}, Status: keypackage.StatusNone, Authentic: true}
	d.fault = func(call string, done bool) error {
		if call == "Dismiss" && !done {
			d.claims[unit.ID()] = unit
		}
		return nil
	}
	got := claim(t, d.first, doc)
	if got.Outcome != keypackage.OutcomeNone || got.Owners+got.OutOfStock != 2 || len(d.answerOf(doc.ID).Claims) != 2 {
		t.Errorf("got %+v, recorded %v", got, d.answerOf(doc.ID))
	}
}

// The units of a request stand for themselves: one that fails does not undo or delay the others.
func TestOneOwnerFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, fresh(5)...)
		doc := signed(t, 1, forDave, forBob)
		d.fault = func(call string, _ bool) error {
			if call == "Commit "+dave {
				return errAway
			}
			return nil
		}
		result, err := d.first.Claim(t.Context(), doc)
		if err == nil || result.Granted != 1 || len(d.answerOf(doc.ID).Claims) != 1 {
			t.Errorf("got %+v, %v", result, err)
		}
		if !slices.Contains(d.published, doc.ID) {
			t.Error("what was claimed is not delivered before the rest is")
		}
		if _, noted := d.outcomes[doc.ID]; noted {
			t.Error("an outcome is noted although an answer is missing")
		}
	})
}

func TestPublisherFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, fresh(5)...)
		doc := signed(t, 1, forBob)
		d.post.err = errAway
		if _, err := d.first.Claim(t.Context(), doc); err == nil || !fault.IsRetryable(err) {
			t.Errorf("nobody will deliver it, but %v", err)
		}
		d.post.err = nil
		if got := claim(t, d.first, doc); got.Granted != 1 || len(d.published) != 1 || len(d.deliveries) != 1 {
			t.Errorf("got %+v, published %v", got, d.published)
		}
	})
}

// Many requests, each delivered three times to several processes at once, for one owner: every one is answered once, no
// package is given away twice, and one stays.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const stock, requests = 40, 30
	d := newDesk(t, fresh(stock)...)
	processes := []*Claimer{d.first, d.claimer(keypackage.ModeDeliver), d.claimer(keypackage.ModeDeliver)}
	var crowd sync.WaitGroup
	for i := range requests {
		doc := signed(t, 10+i, forBob, three)
		for _, process := range processes {
			crowd.Go(func() {
				for {
					_, err := process.Claim(t.Context(), doc)
					if err == nil {
						return
					}
					if !fault.IsRetryable(err) {
						t.Errorf("request %d: %v", i, err)
						return
					}
				}
			})
		}
	}
	crowd.Wait()
	granted := make(map[string]int)
	for _, delivery := range d.deliveries {
		if !delivery.Reserve {
			granted[delivery.Hash]++
		}
	}
	if len(d.claims) != requests || len(granted) != stock-1 || len(d.stock) != 1 {
		t.Errorf("%d answers, %d packages handed out, %d left", len(d.claims), len(granted), len(d.stock))
	}
	for hash, n := range granted {
		if n != 1 {
			t.Errorf("%s was handed out %d times", hash, n)
		}
	}
	for id, outcome := range d.outcomes {
		if outcome != keypackage.OutcomeGranted && outcome != keypackage.OutcomePartial {
			t.Errorf("request %s: %s", id, outcome)
		}
	}
}
