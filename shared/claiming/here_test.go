package claiming

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// What is claimed where the session is comes with its first push begun; nothing is published, and the trigger that follows
// leaves it alone until the outcome is told.
func TestClaimHere(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob, three)
	granted, answer, result, err := claimHere(t, d.first, doc)
	if err != nil || result.Granted != 3 || len(answer.Claims) != 1 || !answer.Claims[0].Gateway || len(granted) != 1 {
		t.Fatalf("granted %+v, %+v, %v", granted, result, err)
	}
	checkBegun(t, granted[0], 3)
	for range 2 {
		claim(t, d.first, doc)
	}
	if len(d.published)+len(d.outcomes) > 0 {
		t.Errorf("the trigger has published %v and noted %v", d.published, d.outcomes)
	}
	if err := d.first.Told(t.Context(), doc, answer); err != nil || d.outcomes[doc.ID] != keypackage.OutcomeGranted {
		t.Errorf("noted %v, %v", d.outcomes, err)
	}
}

// claimHere returns what was given, unit by unit, besides what ClaimHere does.
func claimHere(t *testing.T, c *Claimer, doc keypackage.RequestDocument) ([]Granted, keypackage.Answer, Result, error) {
	t.Helper()
	var mu sync.Mutex
	var granted []Granted
	answer, result, err := c.ClaimHere(t.Context(), doc, isStored, func(g Granted) {
		mu.Lock()
		defer mu.Unlock()
		granted = append(granted, g)
	})
	return granted, answer, result, err
}

// A unit is given while another is still to be decided: its lease would be over before that.
func TestUnitsAreGivenOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		daves := candidate("d1", 1, func(c *keypackage.Candidate) { c.Owner = dave })
		d := newDesk(t, append(fresh(5), daves)...)
		var given atomic.Bool
		d.fault = func(call string, done bool) error {
			if call == "Commit "+dave && !done && !given.Load() {
				return keypackage.ErrConflict
			}
			return nil
		}
		_, result, err := d.first.ClaimHere(t.Context(), signed(t, 1, forBob, forDave), isStored, func(g Granted) {
			if g.Answer.Claims[0].Owner == bob {
				given.Store(true)
			}
		})
		if err != nil || result.Granted != 2 {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

func checkBegun(t *testing.T, granted Granted, n int) {
	t.Helper()
	if len(granted.Begun) != n || granted.Holder == "" {
		t.Fatalf("%d pushes begun for %q", len(granted.Begun), granted.Holder)
	}
	for _, delivery := range granted.Begun {
		if !delivery.HeldBy(granted.Holder, now) || delivery.PushNo != 1 || delivery.Version.IsZero() ||
			!delivery.LeaseUntil.Equal(now.Add(keypackage.LocalLease)) {
			t.Errorf("begun: %+v", delivery)
		}
	}
}

// A commit that ended unclear is found again: its own pushes are gone on with, another's are not.
func TestUnclearClaimHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, own := range map[string]bool{"own": true, "another's": false} {
			d := newDesk(t, fresh(5)...)
			doc := signed(t, 1, forBob)
			if !own {
				claim(t, d.first, doc)
			}
			d.fault = func(call string, done bool) error {
				if done && own && strings.HasPrefix(call, "Commit") {
					return errAway
				}
				return nil
			}
			granted, answer, _, err := claimHere(t, d.first, doc)
			if err != nil || len(answer.Claims) != 1 || len(granted) != 1 || len(d.deliveries) != 1 {
				t.Fatalf("%s: %+v, %v", name, granted, err)
			}
			if own {
				checkBegun(t, granted[0], 1)
			} else if len(granted[0].Begun) > 0 {
				t.Errorf("a push of the trigger's claim is taken for one's own")
			}
		}
	})
}

// If the gateway does not live to tell the outcome, the scheduled function does.
func TestRecoverAfterTheGateway(t *testing.T) {
	t.Parallel()
	d := newDesk(t, fresh(5)...)
	doc := signed(t, 1, forBob)
	if _, _, _, err := claimHere(t, d.first, doc); err != nil {
		t.Fatal(err)
	}
	if got := recovered(t, d.first, doc); !got.Repeated || !slices.Equal(d.published, []string{doc.ID}) || d.outcomes[doc.ID] != keypackage.OutcomeGranted {
		t.Errorf("got %+v, published %v, noted %v", got, d.published, d.outcomes)
	}
}

// The trigger claims what the gateway has not: it may have died between two owners.
func TestTriggerClaimsTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		daves := candidate("d1", 1, func(c *keypackage.Candidate) { c.Owner = dave })
		d := newDesk(t, append(fresh(5), daves)...)
		doc := signed(t, 1, forBob, forDave)
		d.fault = func(call string, _ bool) error {
			if call == "Commit "+dave {
				return errors.New("away")
			}
			return nil
		}
		if granted, _, _, err := claimHere(t, d.first, doc); err == nil || len(granted) != 1 || len(granted[0].Begun) != 1 {
			t.Fatalf("granted %+v, %v", granted, err)
		}
		d.fault = func(string, bool) error { return nil }
		if got := claim(t, d.first, doc); got.Outcome != keypackage.OutcomeGranted || len(d.published) != 1 || len(d.outcomes) > 0 {
			t.Errorf("got %+v, published %v, noted %v", got, d.published, d.outcomes)
		}
	})
}

func isStored() error { return nil }

// What a claim needs is read while the request's document is being stored, and nothing is written before that has succeeded.
func TestNothingIsWrittenBeforeTheDocument(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]keypackage.RequestDocument{"claim": signed(t, 1, forBob), "dismissal": signed(t, 1)} {
		for _, failure := range []error{nil, errAway} {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, fresh(5)...)
				var calls []string
				d.fault = func(call string, done bool) error {
					if !done {
						calls = append(calls, call)
					}
					return nil
				}
				settled, claimed := make(chan struct{}), make(chan error, 1)
				stored := func() error {
					<-settled
					return failure
				}
				go func() {
					_, _, err := d.first.ClaimHere(t.Context(), doc, stored, func(Granted) {})
					claimed <- err
				}()
				synctest.Wait()
				isWrite := func(call string) bool { return strings.HasPrefix(call, "Commit") || strings.HasPrefix(call, "Dismiss") }
				if slices.ContainsFunc(calls, isWrite) || name == "claim" && !slices.Contains(calls, "ReadStock") {
					t.Errorf("%s: called before: %v", name, calls)
				}
				close(settled)
				err := <-claimed
				if (err == nil) != (failure == nil) || slices.ContainsFunc(calls, isWrite) != (failure == nil) {
					t.Errorf("%s, stored %v: %v, called %v", name, failure, err, calls)
				}
			})
		}
	}
}

// The time of a request may be over between two looks at the clock.
func TestNothingIsWrittenOfARequestThatGrowsOld(t *testing.T) {
	t.Parallel()
	d, looks := newDesk(t, fresh(5)...), 0
	d.first.now = func() time.Time {
		if looks++; looks > 1 {
			return now.Add(8 * 24 * time.Hour)
		}
		return now
	}
	d.fault = func(call string, _ bool) error {
		if strings.HasPrefix(call, "Commit") || strings.HasPrefix(call, "Dismiss") {
			t.Error(call)
		}
		return nil
	}
	if _, _, err := d.first.ClaimHere(t.Context(), signed(t, 1, forBob), func() error { return errAway }, func(Granted) {}); err == nil {
		t.Error("it succeeds without a document")
	}
}

// A trigger that comes while the gateway serves the request lets it finish; one that comes later does not wait.
func TestTheTriggerGivesTheGatewayTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		gateway     bool
		age, waited time.Duration
	}{{false, 0, 0}, {true, 0, gatewayFirst}, {true, 100 * time.Millisecond, gatewayFirst - 100*time.Millisecond}, {true, time.Second, 0}, {true, -time.Hour, gatewayFirst}} {
		synctest.Test(t, func(t *testing.T) {
			d, begun := newDesk(t, fresh(5)...), time.Now()
			doc := signed(t, 1, forBob)
			doc.Gateway, doc.ReceivedAt = tt.gateway, now.Add(-tt.age)
			var first time.Duration
			d.fault = func(string, bool) error {
				first = cmp.Or(first, time.Since(begun))
				return nil
			}
			if got := claim(t, d.first, doc); got.Granted != 1 || first != tt.waited {
				t.Errorf("%+v: waited %v, got %+v", tt, first, got)
			}
		})
	}
}
