package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

const (
	// checkPatience bounds one check, beside the slack of some steps; the longest takes little more than the 5 s of a relay.
	checkPatience = 45 * time.Second
	// slackSteps is how many steps of a check may each need all the slack.
	slackSteps = 5
	// packageLife is the lifetime of a KeyPackage: what could not be deleted ends by itself.
	packageLife = time.Hour
)

// probe is one check under way: people of its own, and what it leaves behind. Its methods, and those of its sessions, end the
// check when something does not work that has to, as those of a test do. They are for the check's goroutine only.
type probe struct {
	Target
	ctx                        context.Context
	owner, requester, stranger actors.Key
	trying                     string // what is being tried, for the error; "" if the rule's name says enough
	open                       []*session
	published                  map[string]actors.Key // whose each event is
}

// ending is how a check ends before its end: it panics with this, and try knows it.
type ending struct{ err error }

// try makes a check and cleans up after it. The error says what was seen instead of what has to be, or is errNotChecked.
func (t Target) try(ctx context.Context, check func(*probe)) (err error) {
	patience := checkPatience + slackSteps*t.Slack
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("gave up after %v", patience))
	defer cancel()
	p := &probe{
		Target: t, ctx: ctx, owner: actors.NewKey(), requester: actors.NewKey(), stranger: actors.NewKey(), published: map[string]actors.Key{},
	}
	defer func() {
		fault := recover()
		end, expected := fault.(ending)
		if fault != nil && !expected {
			panic(fault)
		}
		for _, s := range p.open {
			_ = s.conn.CloseNow()
		}
		err = errors.Join(end.err, p.withdraw())
	}()
	check(p)
	return nil
}

// fail ends the check with what was seen.
func (p *probe) fail(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if p.trying != "" {
		err = fmt.Errorf("%s: %w", p.trying, err)
	}
	panic(ending{err})
}

var errNotChecked = errors.New("not to be seen from here")

// skip ends the check because the rule cannot be checked.
func (p *probe) skip(why string) { p.fail("%w: %s", errNotChecked, why) }

// must ends the check if this, which has to work, does not.
func (p *probe) must(what string, err error) {
	if err != nil {
		p.fail("%s: %w", what, err)
	}
}

// must is for what only fails if this program is wrong.
func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

// randomID has the form of an event's id.
func randomID() string { return nostr.GeneratePrivateKey() }

// signed is the event with the key's signature.
func signed(key actors.Key, event *nostr.Event) *nostr.Event { return must(event, key.Sign(event)) }

// keyPackage is a new KeyPackage.
func (p *probe) keyPackage(author actors.Key) *nostr.Event {
	return must(actors.NewKeyPackage(author, p.Relay, nostr.Now(), mlsgen.Options{NotAfter: time.Now().Add(packageLife)}))
}

// deliveries are n deliveries of new KeyPackages of the owner's that were never published.
func (p *probe) deliveries(n int) (deliveries []relayapi.Delivery) {
	for range n {
		deliveries = append(deliveries, deliveryOf(p.keyPackage(p.owner)))
	}
	return deliveries
}

func deliveryOf(event *nostr.Event) relayapi.Delivery {
	return relayapi.Delivery{
		ID: randomID() + "_" + event.ID, KeyPackageEventID: event.ID, OwnerPubkey: event.PubKey, Event: event.String(),
	}
}

// question is a key's signed request to the owner.
func (p *probe) question(key actors.Key) *nostr.Event {
	return signed(key, actors.NewRequest(actors.Question{Owners: []string{p.owner.Pubkey}, TTL: life}))
}

func keyPackagesOf(owner actors.Key) nostr.Filter {
	return nostr.Filter{Kinds: []int{keypackage.KindKeyPackage}, Authors: []string{owner.Pubkey}}
}

// listening is a filter for what is yet to come, which is no request.
func listening(owner actors.Key) nostr.Filter {
	filter := keyPackagesOf(owner)
	filter.LimitZero = true
	return filter
}

// publish publishes an event, in a session of its author's, and returns it. It is deleted when the check is over.
func (p *probe) publish(author actors.Key, event *nostr.Event) *nostr.Event {
	s := p.visit(author)
	p.published[event.ID] = author
	s.publish(event)
	return event
}

// withdraw deletes what the check has published (NIP-09), also when its time is up.
func (p *probe) withdraw() (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), patience)
	defer cancel()
	for id, author := range p.published {
		owner, connectErr := actors.ConnectOwner(ctx, p.Relay, author)
		if connectErr != nil {
			err = errors.Join(err, connectErr)
			continue
		}
		err = errors.Join(err, owner.Delete(ctx, id))
		owner.Disconnect()
	}
	clear(p.published)
	return err
}
