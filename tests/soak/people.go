package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
	"github.com/keypackage-delivery/keypackage-delivery/shared/retry"
	"github.com/keypackage-delivery/keypackage-delivery/tests/invariants"
)

const (
	visitTime  = 20 * time.Second // bounds what a person does at a stretch: nobody waits for a broken relay for ever
	visitEvery = 4 * time.Second  // mean time between two visits of an owner
	mostStock  = 12               // to which owners fill up at most
	shortLife  = 2 * time.Minute  // of short-lived KeyPackages
)

// person is somebody at the relay, with dice of her own that the seed has made.
type person struct {
	actors.Key
	dice
	relay   string
	history *history
}

func (s *soak) newPerson(role string, number int) person {
	secret := sha256.Sum256(fmt.Append(nil, "secret ", s.Seed, role, number))
	key := actors.Key{Secret: hex.EncodeToString(secret[:])}
	key.Pubkey, _ = nostr.GetPublicKey(key.Secret) // all hashes but two are secrets
	s.history.note(func() { s.history.secrets = append(s.history.secrets, key.Secret) })
	return person{key, newDice(s.Seed, role, number), s.Addresses().Relay, s.history}
}

// dice draw decisions. They are not safe for concurrent use.
type dice struct {
	*rand.Rand
	bytes *rand.ChaCha8 // what they are drawn from
}

func newDice(seed uint64, role string, number int) dice {
	bytes := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "dice ", seed, role, number)))
	return dice{rand.New(bytes), bytes}
}

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

// pause waits for about that long, as if people came by chance. It reports whether there is still time.
func (d dice) pause(ctx context.Context, mean time.Duration) bool {
	return retry.Pause(ctx, min(time.Duration(d.ExpFloat64()*float64(mean)), 5*mean)) == nil
}

// often calls do from time to time. What fails is made good the next time.
func (p *person) often(ctx context.Context, mean time.Duration, do func(context.Context) error) {
	for p.pause(ctx, mean) {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			p.history.note(func() { p.history.troubles++ })
		}
	}
}

// until calls do until it succeeds.
func (p *person) until(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	for err != nil && p.pause(ctx, time.Second) {
		err = do(ctx)
	}
	return err
}

// owner is somebody who wants to be reachable. Owners have habits, by number: the first keeps to plain packages, the
// second deletes some, the third has some that end soon, the fourth has two ciphersuites and a marked last resort; and so
// on.
type owner struct {
	person
	habit     int
	published []*nostr.Event
}

const (
	_ = iota // plain
	deletes
	shortLived
	mixed
	habits
)

// visit fills up the stock, and does what else owners do.
func (o *owner) visit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	session, err := actors.ConnectOwner(ctx, o.relay, o.Key)
	if err != nil {
		return err
	}
	defer session.Disconnect()
	stock, err := session.Stock(ctx)
	if err != nil {
		return err
	}
	for range 1 + o.IntN(mostStock) - len(stock) {
		if err := o.publish(ctx, session); err != nil {
			return err
		}
	}
	if len(o.published) == 0 {
		return nil
	}
	if any := o.any(); o.chance(20) { // a re-broadcast, perhaps of what is long used, or deleted and therefore refused
		if err := session.Publish(ctx, any); err != nil && !errors.Is(err, actors.ErrRefused) {
			return err
		}
	}
	if any := o.any(); o.habit == deletes && o.chance(20) {
		o.history.note(func() { o.history.uploads[any.ID].deleted = true })
		return session.Delete(ctx, any.ID)
	}
	return nil
}

func (o *owner) any() *nostr.Event { return o.published[o.IntN(len(o.published))] }

func (o *owner) publish(ctx context.Context, session *actors.Owner) error {
	event, err := actors.NewKeyPackage(o.Key, o.relay, nostr.Now(), o.options())
	if err != nil {
		return err
	}
	o.published = append(o.published, event)
	if err := o.history.upload(event); err != nil { // before anybody can have it
		return err
	}
	if err := session.Publish(ctx, event); err != nil {
		return err
	}
	o.history.note(func() { o.history.uploads[event.ID].stored = true })
	return nil
}

func (o *owner) options() mlsgen.Options {
	options := mlsgen.Options{Rand: o.bytes}
	switch {
	case o.habit == shortLived && o.chance(50):
		options.NotBefore, options.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(shortLife)
	case o.habit == mixed && o.chance(40):
		options.Ciphersuite = mls.X25519ChaCha20Ed25519
	case o.habit == mixed && o.chance(10):
		options.LastResort = true
	}
	return options
}

// requester is somebody who wants to add owners to groups.
type requester struct {
	person
	client *actors.Requester
	owners []string
	life   time.Duration // of a pending delivery
	online bool
}

// act asks, and sometimes comes or goes.
func (r *requester) act(ctx context.Context) error {
	if !r.online {
		listenTo := r.owners
		if r.chance(10) { // perhaps not to the one that is asked for
			listenTo = r.owners[:1+r.IntN(len(r.owners))]
		}
		if err := r.enter(ctx, listenTo); err != nil {
			r.leave()
			return err
		}
	}
	if err := r.ask(ctx); err != nil {
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
	if err := r.client.Connect(ctx); err != nil {
		return err
	}
	r.online = true
	return r.client.Listen(ctx, owners...)
}

func (r *requester) leave() {
	r.online = false
	r.client.Disconnect()
	r.history.left(r.Pubkey)
}

// stay opens a session that listens to all owners.
func (r *requester) stay(ctx context.Context) error {
	r.leave()
	return r.enter(ctx, r.owners)
}

// ask sends a request, sometimes the same question again.
func (r *requester) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	question := r.question()
	for times := 1; ; times++ {
		id, err := r.client.Ask(ctx, question)
		asked := invariants.Request{ID: id, Requester: r.Pubkey, Owners: question.Owners}
		r.history.note(func() { r.history.asks[id] = ask{asked, err == nil} })
		if err != nil || times == 3 || !r.chance(15) {
			return err
		}
	}
}

func (r *requester) question() actors.Question {
	q := actors.Question{Min: 1 + r.IntN(3)}
	for _, i := range r.Perm(len(r.owners))[:1+r.IntN(3)] {
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
