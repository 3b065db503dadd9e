package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"path"
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
	claiming  time.Time // the event has reached the first function
	published time.Time // Pub/Sub has the message: its own time
	pushed    time.Time // the message has reached the second function
	arrived   time.Time // the frame has reached the requester
}

func newStamps() *stamps { return &stamps{journey: make(map[string]journey)} }

func (s *stamps) mark(id string, set func(*journey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journey[id]
	set(&j)
	s.journey[id] = j
}

func (s *stamps) claiming(id string, at time.Time) {
	s.mark(id, func(j *journey) { j.claiming = cmp.Or(j.claiming, at) })
}

func (s *stamps) pushed(id string, published, at time.Time) {
	s.mark(id, func(j *journey) { j.published, j.pushed = cmp.Or(j.published, published), cmp.Or(j.pushed, at) })
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

// The parts of a journey.
func (j journey) whole() time.Duration   { return j.arrived.Sub(j.sent) }
func (j journey) trigger() time.Duration { return j.claiming.Sub(j.sent) } // with the storing of the request
func (j journey) message() time.Duration { return j.pushed.Sub(j.published) }
func (j journey) first() time.Duration   { return j.published.Sub(j.claiming) }
func (j journey) second() time.Duration  { return j.arrived.Sub(j.pushed) }

// share is what is left without the trigger's and Pub/Sub's own time.
func (j journey) share() time.Duration { return j.first() + j.second() }

// middleware stamps what reaches the functions.
func (b *bench) middleware(entryPoint string, function http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		switch entryPoint {
		case suite.Claim:
			b.stamps.claiming(path.Base(r.Header.Get("Ce-Document")), at)
		case suite.Deliver:
			body, _ := io.ReadAll(r.Body) // what is cut off the function refuses
			if id, published := readPush(body); id != "" {
				b.stamps.pushed(id, published, at)
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
