package main

import (
	"context"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
)

// requester is somebody who wants to add owners to groups.
type requester struct {
	person
	client *actors.Requester
	owners []string
	every  time.Duration // mean time between two things that this requester does
	life   time.Duration // of a pending delivery
	online bool
}

func newRequester(opts Options, number int, relay string, history *history, owners []*owner) *requester {
	p := newPerson(opts.Seed, "requester", number, relay, history)
	r := &requester{
		person: p, client: actors.NewRequester(relay, p.Key), life: opts.Life,
		every: time.Duration(float64(opts.Requesters) / opts.Rate * float64(time.Second)),
	}
	for _, o := range owners {
		r.owners = append(r.owners, o.Pubkey)
	}
	return r
}

// live asks from time to time, comes and goes.
func (r *requester) live(ctx context.Context) {
	for r.pause(ctx, r.every) {
		if err := r.act(ctx); err != nil && ctx.Err() == nil {
			r.history.trouble()
			r.leave() // the session may be lost: it is opened anew next time
		}
	}
}

func (r *requester) act(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime+2*r.life)
	defer cancel()
	if !r.online {
		if err := r.enter(ctx, r.some()); err != nil {
			return err
		}
	}
	if err := r.ask(ctx); err != nil {
		return err
	}
	if r.chance(12) { // before the answer comes, or while it does
		r.leave()
		r.pause(ctx, r.between(time.Millisecond, r.life*3/4)) // sometimes for longer than a delivery lives
	}
	return nil
}

// some is whom a session listens to: mostly all owners, sometimes not the one that is asked for.
func (r *requester) some() []string {
	if r.chance(90) {
		return r.owners
	}
	return r.owners[:1+r.IntN(len(r.owners))]
}

func (r *requester) enter(ctx context.Context, owners []string) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	if err := r.client.Connect(ctx); err != nil {
		return err
	}
	r.online = true
	since := time.Now()
	if err := r.client.Listen(ctx, owners...); err != nil {
		return err
	}
	r.history.enter(r.Pubkey, since, len(owners) == len(r.owners))
	return nil
}

func (r *requester) leave() {
	r.online = false
	r.client.Disconnect()
	r.history.leave(r.Pubkey)
}

// ask sends a request, sometimes the same question again.
func (r *requester) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	question := r.question()
	for times := 1; ; times++ {
		at := time.Now()
		id, err := r.client.Ask(ctx, question)
		r.history.asked(id, r.Pubkey, question.Owners, at, err == nil)
		if err != nil || times == 3 || !r.chance(15) {
			return err
		}
	}
}

func (r *requester) question() actors.Question {
	q := actors.Question{Min: 1 + r.IntN(3)}
	for _, i := range r.Perm(len(r.owners))[:1+r.IntN(min(3, len(r.owners)))] {
		q.Owners = append(q.Owners, r.owners[i])
	}
	switch {
	case r.chance(20):
		q.Ciphersuite = "0x0001"
	case r.chance(10):
		q.Ciphersuite = "0x0003"
	}
	if r.chance(20) {
		q.Group = "a group"
	}
	return q
}
