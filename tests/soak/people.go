package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
)

const (
	owners     = 8
	requesters = 16

	visitTime  = 20 * time.Second // bounds what a person does at a stretch: nobody waits for a broken relay for ever
	visitEvery = 4 * time.Second  // mean time between two visits of an owner
	mostStock  = 12               // to which owners fill up at most
	shortLife  = 2 * time.Minute  // of short-lived KeyPackages
)

func (s *soak) newKey() actors.Key {
	key := actors.NewKey()
	s.note(func() { s.forbid(key.Secret, "a secret key") })
	return key
}

// dice draw decisions. Everybody has her own, made by the seed; they are not safe for concurrent use.
type dice struct{ *rand.Rand }

func newDice(seed uint64, role string, number int) *dice {
	return &dice{rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "dice ", seed, role, number))))}
}

func (d *dice) chance(percent int) bool { return d.IntN(100) < percent }

// pause waits for about that long, as if people came by chance. It reports whether there is still time.
func (d *dice) pause(ctx context.Context, mean time.Duration) bool {
	return retry.Pause(ctx, min(time.Duration(d.ExpFloat64()*float64(mean)), 5*mean)) == nil
}

// often calls do from time to time until ctx ends, and returns nil. What fails is made good the next time.
func (s *soak) often(ctx context.Context, by *dice, mean time.Duration, do func(context.Context) error) error {
	for by.pause(ctx, mean) {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.note(func() { s.happened["errors that clients saw"]++ })
		}
	}
	return nil
}

// until calls do until it succeeds.
func until(ctx context.Context, do func(context.Context) error) error {
	return retry.Do(ctx, retry.Doubling(time.Second, time.Second), func(int) (again bool, err error) {
		err = do(ctx)
		return err != nil, err
	})
}

// owner is somebody who wants to be reachable.
type owner struct {
	*soak
	*dice
	actors.Key
	habit     habit
	published []*nostr.Event
}

// habit is what an owner does beside keeping plain KeyPackages, in percent: of her visits, or of her KeyPackages.
type habit struct{ deletes, shortLived, otherSuite, lastResort int }

var habits = []habit{{}, {deletes: 20}, {shortLived: 50}, {otherSuite: 40, lastResort: 6}}

// visit fills up the stock, and does what else owners do.
func (o *owner) visit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	session, err := actors.ConnectOwner(ctx, o.Addresses().Relay, o.Key)
	if err != nil {
		return err
	}
	defer session.Disconnect()
	stock, err := session.Stock(ctx)
	for range 1 + o.IntN(mostStock) - len(stock) {
		if err == nil {
			err = o.publish(ctx, session)
		}
	}
	if err == nil && o.chance(20) { // a re-broadcast, perhaps of what is long used, or deleted and therefore refused
		if err = session.Publish(ctx, o.any()); errors.Is(err, actors.ErrRefused) {
			err = nil
		}
	}
	if err == nil && o.chance(o.habit.deletes) {
		id := o.any().ID
		o.note(func() { o.Deleted[id] = true })
		err = session.Delete(ctx, id)
	}
	return err
}

func (o *owner) any() *nostr.Event { return o.published[o.IntN(len(o.published))] }

func (o *owner) publish(ctx context.Context, session *actors.Owner) error {
	options := mlsgen.Options{LastResort: o.chance(o.habit.lastResort)}
	if o.chance(o.habit.shortLived) {
		options.NotBefore, options.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(shortLife)
	}
	if o.chance(o.habit.otherSuite) {
		options.Ciphersuite = mls.X25519ChaCha20Ed25519
	}
	event, err := actors.NewKeyPackage(o.Key, o.Addresses().Relay, nostr.Now(), options)
	if err == nil {
		o.published = append(o.published, event)
		err = o.upload(event) // before anybody can have it
	}
	if err == nil {
		err = session.Publish(ctx, event)
	}
	if err == nil {
		o.note(func() { o.Stored[event.ID] = true })
	}
	return err
}

// requester is somebody who wants to add owners to groups.
type requester struct {
	*soak
	*dice
	*actors.Requester
	online bool
}

// act asks, and sometimes comes or goes.
func (r *requester) act(ctx context.Context) (err error) {
	if !r.online {
		listenTo := r.pubkeys
		if r.chance(10) { // perhaps not to the one that is asked for
			listenTo = r.pubkeys[:1+r.IntN(len(r.pubkeys))]
		}
		err = r.enter(ctx, listenTo)
	}
	if err == nil {
		err = r.ask(ctx)
	}
	if err != nil {
		r.leave() // the session may be lost: it is opened anew next time
		return err
	}
	if r.chance(12) { // before the answer comes, or while it does
		r.leave()
		r.pause(ctx, 1+time.Duration(r.Int64N(int64(r.life*3/4)))) // sometimes for longer than a delivery lives
	}
	return nil
}

func (r *requester) enter(ctx context.Context, owners []string) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	if err := r.Connect(ctx); err != nil {
		return err
	}
	r.online = true
	return r.Listen(ctx, owners...)
}

func (r *requester) leave() {
	r.online = false
	r.Disconnect()
	r.left(r.Pubkey)
}

// stay opens a session that listens to all owners.
func (r *requester) stay(ctx context.Context) error {
	r.leave()
	return r.enter(ctx, r.pubkeys)
}

// ask sends a request, sometimes the same question again.
func (r *requester) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	question := actors.Question{
		Min:         1 + r.IntN(3),
		Ciphersuite: [10]string{"0x0001", "0x0001", "0x0003"}[r.IntN(10)], // most ask for any
		Group:       [5]string{"a group"}[r.IntN(5)],
	}
	for _, i := range r.Perm(len(r.pubkeys))[:1+r.IntN(3)] {
		question.Owners = append(question.Owners, r.pubkeys[i])
	}
	for times := 1; ; times++ {
		id, err := r.Ask(ctx, question)
		r.note(func() { r.Requests[id], r.Stored[id] = question.Owners, err == nil })
		if err != nil || times == 3 || !r.chance(15) {
			return err
		}
	}
}
