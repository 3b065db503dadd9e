package main

import (
	"bytes"
	"encoding/json"
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
	hung       fault = "hung"       // perhaps done, and no answer ever
)

// odds of a fault, in percent of calls.
type odds struct {
	fault   fault
	percent int
}

var (
	functionOdds = []odds{{lost, 3}, {refused, 3}, {unanswered, 4}, {doubled, 5}}
	relayOdds    = []odds{{refused, 3}, {throttled, 2}, {unanswered, 3}, {cut, 2}, {hung, 1}}
)

// chaos makes faults in front of the functions and of the relay's delivery endpoint, between begin and end.
type chaos struct {
	history      *history
	keepTriggers bool

	mu   sync.Mutex
	dice map[string]dice // one for each place, so that the calls of one do not change the faults of another
	over chan struct{}   // closed while there are no faults: what hangs then goes on
}

func newChaos(opts Options, history *history) *chaos {
	c := &chaos{history: history, keepTriggers: opts.KeepTriggers, dice: make(map[string]dice), over: make(chan struct{})}
	for _, place := range []string{suite.Claim, suite.Deliver, suite.Expire, suite.Gateway} {
		c.dice[place] = newDice(opts.Seed, place, 0)
	}
	close(c.over)
	return c
}

func (c *chaos) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = make(chan struct{})
}

func (c *chaos) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active() {
		close(c.over)
	}
}

// active reports whether there are faults now. It needs the lock.
func (c *chaos) active() bool {
	select {
	case <-c.over:
		return false
	default:
		return true
	}
}

// draw decides about a call; "" is no fault.
func (c *chaos) draw(place string, all []odds) fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active() {
		return ""
	}
	n := c.dice[place].IntN(100)
	for _, o := range all {
		if n -= o.percent; n < 0 {
			if o.fault == lost && place == suite.Claim && c.keepTriggers {
				return ""
			}
			c.history.fault(place + " " + string(o.fault))
			return o.fault
		}
	}
	return ""
}

// inFrontOf is the suite's middleware.
func (c *chaos) inFrontOf(entryPoint string, function http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch c.draw(entryPoint, functionOdds) {
		case lost:
			w.WriteHeader(http.StatusNoContent)
		case refused:
			w.WriteHeader(http.StatusServiceUnavailable)
		case unanswered:
			function.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusServiceUnavailable)
		case doubled:
			body := replayable(r)
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			var twin sync.WaitGroup
			twin.Go(func() { function.ServeHTTP(httptest.NewRecorder(), again) })
			function.ServeHTTP(w, r)
			twin.Wait()
		default:
			function.ServeHTTP(w, r)
		}
	})
}

// inFrontOfRelay also notes what is pushed.
func (c *chaos) inFrontOfRelay(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer c.history.push(deliveriesOf(r))()
		switch c.draw(suite.Gateway, relayOdds) {
		case refused:
			w.WriteHeader(http.StatusInternalServerError)
		case throttled:
			w.WriteHeader(http.StatusTooManyRequests)
		case unanswered:
			endpoint.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusInternalServerError)
		case cut:
			endpoint.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case hung:
			endpoint.ServeHTTP(httptest.NewRecorder(), r)
			c.hang(r)
			panic(http.ErrAbortHandler)
		default:
			endpoint.ServeHTTP(w, r)
		}
	})
}

// hang returns when the caller has given up, or the faults are over.
func (c *chaos) hang(r *http.Request) {
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	select {
	case <-r.Context().Done():
	case <-over:
	}
}

// deliveriesOf returns the ids of the deliveries that a push carries.
func deliveriesOf(r *http.Request) []string {
	var push relayapi.DeliveryRequest
	_ = json.Unmarshal(replayable(r), &push)
	ids := make([]string, len(push.Deliveries))
	for i, d := range push.Deliveries {
		ids[i] = d.ID
	}
	return ids
}

// replayable reads the request's body and leaves it to be read again.
func replayable(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}
