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
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// fault is what happens to a call in place of the usual.
type fault struct {
	name    string
	percent int  // of all calls
	done    bool // the call is served, and its caller does not see what comes of it
	answer  int  // a status, or one of those below
}

const (
	usual = iota // as if nothing were wrong
	cut          // the connection breaks
	hung         // nothing, until the caller gives up
)

var (
	functionFaults = []fault{
		{"lost", 3, false, http.StatusNoContent}, // acknowledged, and nobody has seen it
		{"refused", 3, false, http.StatusServiceUnavailable},
		{"unanswered", 4, true, http.StatusServiceUnavailable},
		{"doubled", 5, true, usual}, // at once
	}
	faultsAt = map[string][]fault{
		suite.Claim: functionFaults, suite.Deliver: functionFaults, suite.Expire: functionFaults,
		suite.Gateway: { // its delivery endpoint
			{"refused", 3, false, http.StatusServiceUnavailable},
			{"throttled", 2, false, http.StatusTooManyRequests}, // a definite answer
			{"unanswered", 3, true, http.StatusServiceUnavailable},
			{"cut", 2, true, cut},
			{"hung", 1, true, hung},
		},
	}
)

// draw decides about a call; the zero value is no fault. The calls of one place do not change the faults of another.
func (s *soak) draw(place string) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.disturbed {
		return fault{}
	}
	s.happened.add("calls", place)
	n := newDice(s.seed, place, s.happened["calls: "+place]).IntN(100)
	for _, f := range faultsAt[place] {
		if n -= f.percent; n < 0 {
			s.happened.add("faults", place+" "+f.name)
			return f
		}
	}
	return fault{}
}

// inFrontOf is the suite's middleware.
func (s *soak) inFrontOf(place string, next http.Handler) http.Handler {
	unseen := func(r *http.Request) { next.ServeHTTP(httptest.NewRecorder(), r) }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.draw(place)
		var twin sync.WaitGroup
		switch {
		case f.done && f.answer == usual:
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(replayable(r)))
			twin.Go(func() { unseen(again) })
		case f.done:
			unseen(r)
		}
		switch f.answer {
		case usual:
			next.ServeHTTP(w, r)
			twin.Wait()
		case hung:
			<-r.Context().Done()
			fallthrough
		case cut:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(f.answer)
		}
	})
}

// inFrontOfRelay also notes what is pushed by two at once.
func (s *soak) inFrontOfRelay(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var push relayapi.DeliveryRequest
		_ = json.Unmarshal(replayable(r), &push)
		count := func(by int) {
			for _, d := range push.Deliveries {
				if s.underWay[d.ID] += by; s.underWay[d.ID] > 1 {
					s.Pushes = append(s.Pushes, invariants.Push{DeliveryID: d.ID, Contested: true})
				}
			}
		}
		s.note(func() { count(1) })
		defer s.note(func() { count(-1) })
		s.inFrontOf(suite.Gateway, endpoint).ServeHTTP(w, r)
	})
}

// replayable reads the request's body and leaves it to be read again.
func replayable(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// crash kills and restarts processes until ctx ends, in shuffled order and then again: the functions and the gateway more often
// than what they talk to. A restart that was begun is finished.
func (s *soak) crash(ctx context.Context) error {
	deck := []string{
		suite.Claim, suite.Claim, suite.Deliver, suite.Deliver, suite.Deliver, suite.Expire, suite.Gateway, suite.Gateway, suite.PubSub,
	}
	dice := newDice(s.seed, "crash", 0)
	for {
		for _, i := range dice.Perm(len(deck)) {
			if !dice.pause(ctx, s.crashEvery) {
				return nil
			}
			s.note(func() { s.happened.add("faults", deck[i]+" killed") })
			if deck[i] == suite.Gateway {
				s.left("")
			}
			if err := s.Restart(context.WithoutCancel(ctx), deck[i]); err != nil {
				return fmt.Errorf("restart of %s: %w", deck[i], err)
			}
		}
	}
}
