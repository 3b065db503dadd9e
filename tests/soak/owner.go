package main

import (
	"context"
	"errors"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

const (
	visitEvery = 4 * time.Second // mean time between two visits of an owner
	mostStock  = 12              // to which owners fill up at most
	shortLife  = 2 * time.Minute // of short-lived KeyPackages
)

// owner is somebody who wants to be reachable. Owners have habits, by number: the first keeps to plain packages, the
// second deletes some, the third has some that end soon, the fourth has two ciphersuites and a marked last resort; and so
// on.
type owner struct {
	person
	habit     int
	published []*nostr.Event
}

const (
	plain = iota
	deletes
	shortLived
	mixed
	habits
)

func newOwner(seed uint64, number int, relay string, history *history) *owner {
	return &owner{person: newPerson(seed, "owner", number, relay, history), habit: number % habits}
}

// arrive visits the relay until it succeeds.
func (o *owner) arrive(ctx context.Context) error {
	for {
		err := o.visit(ctx)
		if err == nil || !o.pause(ctx, time.Second) {
			return err
		}
		o.history.trouble()
	}
}

// live visits the relay from time to time. What fails at one visit is made good at the next.
func (o *owner) live(ctx context.Context) {
	for o.pause(ctx, visitEvery) {
		if err := o.visit(ctx); err != nil && ctx.Err() == nil {
			o.history.trouble()
		}
	}
}

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
		o.history.delete(any.ID)
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
	o.history.stored(event.ID)
	return nil
}

func (o *owner) options() mlsgen.Options {
	options := mlsgen.Options{Rand: o.bytes}
	switch {
	case o.habit == shortLived && o.chance(50):
		options.NotBefore = time.Now().Add(-time.Hour)
		options.NotAfter = time.Now().Add(shortLife)
	case o.habit == mixed && o.chance(40):
		options.Ciphersuite = mls.X25519ChaCha20Ed25519
	case o.habit == mixed && o.chance(10):
		options.LastResort = true
	}
	return options
}
