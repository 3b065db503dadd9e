package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// A fault is what happens to a call in place of the usual.
type fault string

const (
	lost       fault = "lost"       // acknowledged, and nobody has seen it
	refused    fault = "refused"    // failed before anything was done
	throttled  fault = "throttled"  // refused with a definite answer
	unanswered fault = "unanswered" // done, and reported as failed
	doubled    fault = "doubled"    // done twice at once
	cut        fault = "cut"        // the connection breaks after it was done
	hung       fault = "hung"       // done, and no answer ever
)

// odds of a fault, in percent of calls.
type odds struct {
	fault   fault
	percent int
}

var (
	functionOdds = []odds{{lost, 3}, {refused, 3}, {unanswered, 4}, {doubled, 5}}
	oddsAt       = map[string][]odds{
		suite.Claim: functionOdds, suite.Deliver: functionOdds, suite.Expire: functionOdds,
		suite.Gateway: {{refused, 3}, {throttled, 2}, {unanswered, 3}, {cut, 2}, {hung, 1}}, // its delivery endpoint
	}
)

// chaos makes faults in front of the functions and of the relay's delivery endpoint, between begin and end.
type chaos struct {
	history *history

	mu     sync.Mutex
	dice   map[string]dice // one for each place, so that the calls of one do not change the faults of another
	active bool
}

func newChaos(seed uint64, history *history) *chaos {
	c := &chaos{history: history, dice: make(map[string]dice)}
	for place := range oddsAt {
		c.dice[place] = newDice(seed, place, 0)
	}
	return c
}

func (c *chaos) set(active bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = active
}

// draw decides about a call; "" is no fault.
func (c *chaos) draw(place string) fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active {
		return ""
	}
	n := c.dice[place].IntN(100)
	for _, o := range oddsAt[place] {
		if n -= o.percent; n < 0 {
			c.history.fault(place + " " + string(o.fault))
			return o.fault
		}
	}
	return ""
}

// inFrontOf is the suite's middleware.
func (c *chaos) inFrontOf(place string, next http.Handler) http.Handler {
	unseen := func(r *http.Request) { next.ServeHTTP(httptest.NewRecorder(), r) }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch c.draw(place) {
		case lost:
			w.WriteHeader(http.StatusNoContent)
		case refused:
			w.WriteHeader(http.StatusServiceUnavailable)
		case throttled:
			w.WriteHeader(http.StatusTooManyRequests)
		case unanswered:
			unseen(r)
			w.WriteHeader(http.StatusServiceUnavailable)
		case cut:
			unseen(r)
			panic(http.ErrAbortHandler)
		case hung:
			unseen(r)
			<-r.Context().Done() // the caller has given up
			panic(http.ErrAbortHandler)
		case doubled:
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(replayable(r)))
			var twin sync.WaitGroup
			twin.Go(func() { unseen(again) })
			next.ServeHTTP(w, r)
			twin.Wait()
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// inFrontOfRelay also notes what is pushed.
func (c *chaos) inFrontOfRelay(endpoint http.Handler) http.Handler {
	endpoint = c.inFrontOf(suite.Gateway, endpoint)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var push relayapi.DeliveryRequest
		_ = json.Unmarshal(replayable(r), &push)
		ids := make([]string, len(push.Deliveries))
		for i, d := range push.Deliveries {
			ids[i] = d.ID
		}
		c.history.push(ids, 1)
		defer c.history.push(ids, -1)
		endpoint.ServeHTTP(w, r)
	})
}

// replayable reads the request's body and leaves it to be read again.
func replayable(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// deck is what crashes, in shuffled order and then again. The functions and the gateway do it more often than what they talk to.
var deck = []string{
	suite.Claim, suite.Claim, suite.Deliver, suite.Deliver, suite.Deliver, suite.Expire, suite.Gateway, suite.Gateway, suite.PubSub,
}

// crash kills and restarts processes until ctx ends. A restart that was begun is finished.
func (s *soak) crash(ctx context.Context) error {
	dice := newDice(s.Seed, "crash", 0)
	for {
		for _, i := range dice.Perm(len(deck)) {
			if !dice.pause(ctx, s.CrashEvery) {
				return nil
			}
			s.history.fault(deck[i] + " killed")
			if deck[i] == suite.Gateway {
				s.history.left("")
			}
			if err := s.Restart(context.WithoutCancel(ctx), deck[i]); err != nil {
				return fmt.Errorf("restart of %s: %w", deck[i], err)
			}
		}
	}
}
