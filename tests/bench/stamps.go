package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

// stamps are the moments of each request's way, by request id. Of what happens more than once the first counts.
type stamps struct {
	mu      sync.Mutex
	journey map[string]journey
}

// journey is one request's way. Everything is measured on one machine, so one clock does.
type journey struct {
	sent      time.Time // the request's frame has left the client, which on one machine is when it arrives
	claiming  time.Time // the event has reached the first function, or the request is stored
	published time.Time // Pub/Sub has the message: its own time
	pushed    time.Time // the message has reached the second function
	arrived   time.Time // the frame has reached the requester
}

func (s *stamps) mark(id string, set func(*journey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journey == nil {
		s.journey = make(map[string]journey)
	}
	j := s.journey[id]
	set(&j)
	s.journey[id] = j
}

// take returns a journey that has ended and forgets it.
func (s *stamps) take(id string, sent, arrived time.Time) journey {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journey[id]
	delete(s.journey, id)
	j.sent, j.arrived = sent, arrived
	return j
}

// The parts of a journey: hops are the trigger's, with the storing of the request, and Pub/Sub's; share is the rest.
func (j journey) whole() time.Duration { return j.arrived.Sub(j.sent) }
func (j journey) hops() time.Duration  { return j.claiming.Sub(j.sent) + j.pushed.Sub(j.published) }
func (j journey) share() time.Duration { return j.whole() - j.hops() }

// middleware stamps what reaches the functions.
func (b *bench) middleware(entryPoint string, function http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		switch entryPoint {
		case suite.Claim:
			b.stamps.mark(path.Base(r.Header.Get("Ce-Document")), func(j *journey) { j.claiming = cmp.Or(j.claiming, at) })
		case suite.Deliver:
			body, _ := io.ReadAll(r.Body) // what is cut off the function refuses
			if id, published := readPush(body); id != "" {
				b.stamps.mark(id, func(j *journey) { j.published, j.pushed = cmp.Or(j.published, published), cmp.Or(j.pushed, at) })
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		function.ServeHTTP(w, r)
	})
}

// readPush returns the request that a push names, if it names one, and when its message was published.
func readPush(body []byte) (requestID string, published time.Time) {
	var envelope struct {
		Message struct {
			Data        []byte    `json:"data"`
			PublishTime time.Time `json:"publishTime"`
		} `json:"message"`
	}
	var message struct {
		RequestEventID string `json:"request_event_id"`
	}
	if json.Unmarshal(body, &envelope) != nil || json.Unmarshal(envelope.Message.Data, &message) != nil {
		return "", time.Time{}
	}
	return message.RequestEventID, envelope.Message.PublishTime
}

// sample is durations that were measured for one thing.
type sample []time.Duration

// quantile returns the smallest duration that is at least as long as that share of the sample, in milliseconds; NaN of an
// empty sample.
func (s sample) quantile(share float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(share*float64(len(s)))) - 1
	return milliseconds(slices.Sorted(slices.Values(s))[max(i, 0)])
}

// quantiles are the columns of a table of durations.
var quantiles = []string{"p50 ms", "p95 ms", "p99 ms", "max ms"}

func (s sample) row() []float64 {
	return []float64{s.quantile(0.5), s.quantile(0.95), s.quantile(0.99), s.quantile(1)}
}

// over divides column by column.
func over(a, b []float64) []float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// timed returns how long f took.
func timed(f func() error) (time.Duration, error) {
	begun := time.Now()
	err := f()
	return time.Since(begun), err
}
