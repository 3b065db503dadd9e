package simulation

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keypackage-delivery/keypackage-delivery/shared/delivering"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

// Behaviour is how the relay takes a push.
type Behaviour string

// The behaviours. Those that end in "sent" have served the push before the answer goes wrong.
const (
	Honest           Behaviour = "honest"
	Refusing         Behaviour = "401"
	Misplaced        Behaviour = "404"
	TooLarge         Behaviour = "413"
	Unexpected       Behaviour = "redirect"
	UnexpectedSent   Behaviour = "redirect, sent"
	Failing          Behaviour = "500"
	FailingSent      Behaviour = "500, sent"
	UnknownNotSent   Behaviour = "unknown"
	UnknownSent      Behaviour = "unknown, sent"
	SilentSent       Behaviour = "no result, sent"
	NotKnowingEvent  Behaviour = "unknown_event"
	RejectingPackage Behaviour = "rejected"
)

// Behaviours lists all of them.
var Behaviours = []Behaviour{
	Honest, Refusing, Misplaced, TooLarge, Unexpected, UnexpectedSent, Failing, FailingSent, UnknownNotSent, UnknownSent,
	SilentSent, NotKnowingEvent, RejectingPackage,
}

// Relay is the relay's side of the delivery endpoint, with the promises of a relay kept and every answer that it may give.
// It is safe for concurrent use.
type Relay struct {
	clock *Clock

	mu         sync.Mutex
	behaviours []Behaviour
	sessions   map[string][]*session // by the key as which they are authenticated
	sent       map[string]bool       // deliveries that were written to some session
	underWay   map[string]time.Time  // until when a push of the delivery may still be served
	received   []invariants.Received
	pushes     []invariants.Push
}

// session is an authenticated session; matching tells whether it has a subscription that KeyPackages satisfy.
type session struct {
	matching bool
	got      map[string]bool
}

func newRelay(clock *Clock) *Relay {
	return &Relay{
		clock: clock, sessions: make(map[string][]*session), sent: make(map[string]bool), underWay: make(map[string]time.Time),
	}
}

// Behave makes the next push meet that behaviour.
func (r *Relay) Behave(m Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaviours = append(r.behaviours, m)
}

// Open opens a session.
func (r *Relay) Open(pubkey string, matching bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[pubkey] = append(r.sessions[pubkey], &session{matching, make(map[string]bool)})
}

// Close closes all sessions of a key.
func (r *Relay) Close(pubkey string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, pubkey)
}

var (
	errTooLate = errors.New("the caller has gone")
	errAnswer  = errors.New("the relay answered so on purpose")
)

// Push implements delivering.Relay. It is where the call leaves the function, so it also notes what must not leave.
func (r *Relay) Push(ctx context.Context, push delivering.Push) delivering.Results {
	begun, i := r.clock.Now(), invocationOf(ctx)
	if i.isDead() {
		return delivering.Results{Whole: keypackage.ResultUnclear, Err: ErrCrashed}
	}
	r.noteBegin(push, begun)
	served := false
	var answer delivering.Results
	err := i.Call("Push", func() error {
		if r.clock.Now().Sub(begun) >= keypackage.PushTimeout {
			return errTooLate
		}
		served = true
		answer = r.serve(push)
		return nil
	})
	if !errors.Is(err, ErrCrashed) {
		r.noteEnd(push)
	}
	switch {
	case err == nil:
		return answer
	case !served && status.Code(err) == codes.Unknown && !errors.Is(err, errTooLate):
		return delivering.Results{Whole: keypackage.ResultNotSent, Err: err}
	}
	return delivering.Results{Whole: keypackage.ResultUnclear, Err: err}
}

func (r *Relay) noteBegin(push delivering.Push, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range push.Deliveries {
		r.pushes = append(r.pushes, invariants.Push{DeliveryID: d.ID, At: now, Contested: now.Before(r.underWay[d.ID])})
		r.underWay[d.ID] = now.Add(keypackage.PushTimeout)
	}
}

// noted returns what arrived in sessions and what was pushed.
func (r *Relay) noted() ([]invariants.Received, []invariants.Push) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received, r.pushes
}

func (r *Relay) noteEnd(push delivering.Push) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range push.Deliveries {
		delete(r.underWay, d.ID)
	}
}

// serve answers according to the behaviour.
func (r *Relay) serve(push delivering.Push) delivering.Results {
	r.mu.Lock()
	defer r.mu.Unlock()
	behaviour := Honest
	if len(r.behaviours) > 0 {
		behaviour, r.behaviours = r.behaviours[0], r.behaviours[1:]
	}
	switch behaviour {
	case Refusing:
		return failed(keypackage.ResultRefused)
	case Misplaced:
		return failed(keypackage.ResultMisplaced)
	case TooLarge:
		return failed(keypackage.ResultTooLarge)
	case Unexpected:
		return failed(keypackage.ResultUnexpected)
	case Failing:
		return failed(keypackage.ResultUnclear)
	case UnknownNotSent:
		return all(push, keypackage.ResultUnknown)
	case NotKnowingEvent:
		return all(push, keypackage.ResultUnknownEvent)
	case RejectingPackage:
		return all(push, keypackage.ResultRejected)
	}
	results := make(map[string]keypackage.PushResult)
	for _, d := range push.Deliveries {
		results[d.ID] = r.send(push, d)
	}
	switch behaviour {
	case UnexpectedSent:
		return failed(keypackage.ResultUnexpected)
	case FailingSent:
		return failed(keypackage.ResultUnclear)
	case UnknownSent:
		return all(push, keypackage.ResultUnknown)
	case SilentSent:
		return delivering.Results{}
	}
	return delivering.Results{Each: results}
}

func failed(whole keypackage.PushResult) delivering.Results {
	return delivering.Results{Whole: whole, Err: errAnswer}
}

func all(push delivering.Push, result keypackage.PushResult) delivering.Results {
	results := make(map[string]keypackage.PushResult)
	for _, d := range push.Deliveries {
		results[d.ID] = result
	}
	return delivering.Results{Each: results}
}

// send writes one delivery to every matching session of the requester that has not got it yet.
func (r *Relay) send(push delivering.Push, d *keypackage.Delivery) keypackage.PushResult {
	now := r.clock.Now()
	if !now.Before(push.ExpiresAt) {
		return keypackage.ResultNoSession // dropped
	}
	for _, s := range r.sessions[push.Requester] {
		if !s.matching || s.got[d.ID] {
			continue
		}
		s.got[d.ID], r.sent[d.ID] = true, true
		r.received = append(r.received, invariants.Received{
			DeliveryID: d.ID, Session: push.Requester, Raw: d.Event(), At: now,
		})
	}
	switch {
	case r.sent[d.ID]:
		return keypackage.ResultDelivered
	case len(r.sessions[push.Requester]) > 0:
		return keypackage.ResultNoSubscription
	}
	return keypackage.ResultNoSession
}
